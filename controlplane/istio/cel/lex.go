package cel

import (
	"strings"
	"unicode/utf8"
)

type tokenKind uint8

const (
	endToken tokenKind = iota
	identToken
	numberToken
	stringToken
	symbolToken
)

// lexeme is one word of an expression; text is as written.
type lexeme struct {
	kind tokenKind
	text string
	at   int
}

// symbols, the longer first.
var symbols = [...]string{"&&", "||", "==", "!=", "<=", ">=", "<", ">", "+", "-", "*", "/", "%", "!", "?", ":", ".", ",", "(", ")", "[", "]", "{", "}"}

// lex splits an expression.
func lex(src string) ([]lexeme, *Error) {
	var out []lexeme
	for i := 0; i < len(src); {
		c := src[i]
		switch {
		case c == ' ' || c == '\t' || c == '\n' || c == '\r':
			i++
			continue
		case strings.HasPrefix(src[i:], "//"):
			for i < len(src) && src[i] != '\n' {
				i++
			}
			continue
		}
		l, err := lexOne(src, i)
		if err != nil {
			return nil, err
		}
		out = append(out, l)
		i += len(l.text)
	}
	return append(out, lexeme{endToken, "", len(src)}), nil
}

func lexOne(src string, i int) (lexeme, *Error) {
	if n := quoted(src[i:]); n > 0 {
		return lexeme{stringToken, src[i : i+n], i}, nil
	} else if n < 0 {
		return lexeme{}, &Error{i, "a string that does not end", ""}
	}
	switch c := src[i]; {
	case digit(c) || c == '.' && i+1 < len(src) && digit(src[i+1]):
		return lexeme{numberToken, src[i : i+number(src[i:])], i}, nil
	case letter(c):
		j := i
		for j < len(src) && (letter(src[j]) || digit(src[j])) {
			j++
		}
		return lexeme{identToken, src[i:j], i}, nil
	}
	for _, s := range symbols {
		if strings.HasPrefix(src[i:], s) {
			return lexeme{symbolToken, s, i}, nil
		}
	}
	r, _ := utf8.DecodeRuneInString(src[i:])
	fix := ""
	switch r {
	case '=':
		fix = "write =="
	case '&', '|':
		fix = "write " + strings.Repeat(string(r), 2)
	}
	return lexeme{}, &Error{i, "unexpected " + string(r), fix}
}

func digit(c byte) bool  { return c >= '0' && c <= '9' }
func letter(c byte) bool { return c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }

// number is the length of the number that s begins with: an integer, perhaps hexadecimal or with a u, or a fraction.
func number(s string) int {
	i := 0
	if strings.HasPrefix(s, "0x") || strings.HasPrefix(s, "0X") {
		for i = 2; i < len(s) && (digit(s[i]) || s[i]|32 >= 'a' && s[i]|32 <= 'f'); i++ {
		}
	} else {
		for i < len(s) && digit(s[i]) {
			i++
		}
		if i+1 < len(s) && s[i] == '.' && digit(s[i+1]) {
			for i++; i < len(s) && digit(s[i]); i++ {
			}
		}
		if i+1 < len(s) && s[i]|32 == 'e' {
			j := i + 1
			if (s[j] == '+' || s[j] == '-') && j+1 < len(s) {
				j++
			}
			if digit(s[j]) {
				for i = j; i < len(s) && digit(s[i]); i++ {
				}
			}
		}
	}
	if i < len(s) && s[i]|32 == 'u' {
		i++
	}
	return i
}

// quoted is the length of the string literal that s begins with: 0 if it begins with none, -1 if it does not end.
func quoted(s string) int {
	i := 0
	for i < len(s) && i < 2 && strings.ContainsRune("rRbB", rune(s[i])) {
		i++
	}
	raw := i > 0 && strings.ContainsAny(s[:i], "rR")
	if i >= len(s) || s[i] != '"' && s[i] != '\'' {
		return 0
	}
	end := s[i : i+1]
	if strings.HasPrefix(s[i:], strings.Repeat(end, 3)) {
		end = strings.Repeat(end, 3)
	}
	for i += len(end); i < len(s); i++ {
		switch {
		case strings.HasPrefix(s[i:], end):
			return i + len(end)
		case s[i] == '\\' && !raw:
			i++
		case s[i] == '\n' && len(end) == 1:
			return -1
		}
	}
	return -1
}
