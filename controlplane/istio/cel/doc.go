// Package cel reads the Common Expression Language as Envoy's access logs take it: enough to refuse, with the place of the
// mistake, what Envoy would refuse or could never find true, and to turn an expression into a format string. It evaluates nothing.
package cel

import "fmt"

// Error says what is wrong with an expression and where.
type Error struct {
	Offset  int // in bytes, from 0
	Message string
	Fix     string // what to write instead; "": nothing to say
}

// Error is the message with its place.
func (e *Error) Error() string { return fmt.Sprintf("at character %d: %s", e.Offset+1, e.Message) }

// Condition checks an expression that is to be true or false: a filter of an access log.
func Condition(src string) *Error {
	n, err := parse(src)
	if err != nil {
		return err
	}
	if err := check(n, true); err != nil {
		return err
	}
	switch n.kind {
	case stringNode, numberNode, listNode, mapNode:
		return n.fail("is never true or false", "compare it: response.code >= 400")
	}
	return nil
}

// Value checks an expression whose value is wanted.
func Value(src string) *Error {
	n, err := parse(src)
	if err != nil {
		return err
	}
	return check(n, false)
}

// Format turns an expression into a format string of Envoy's access logs that yields its value, for a metric's label: "" where
// there is none.
func Format(src string) (string, *Error) {
	n, err := parse(src)
	if err != nil {
		return "", err
	}
	return n.format()
}
