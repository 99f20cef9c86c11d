// Package protoerr makes protojson's errors fit for people.
package protoerr

import "strings"

// Plain is protojson's message without its place in a text that nobody sees, and without the blanks that protojson varies from
// program to program so that nobody compares its messages.
func Plain(err error) string {
	text := strings.ReplaceAll(err.Error(), "\u00a0", " ")
	text = strings.TrimPrefix(strings.TrimPrefix(text, "proto: "), "syntax error ")
	if rest, ok := strings.CutPrefix(text, "(line "); ok {
		if _, after, found := strings.Cut(rest, "): "); found {
			return after
		}
	}
	return text
}
