//go:build !linux

package netns

import "errors"

var errLinux = errors.New("network namespaces are Linux's")

// Create fails.
func Create(string) error { return errLinux }

// Delete fails.
func Delete(string) error { return errLinux }

// Do fails.
func Do(string, func() error) error { return errLinux }

// DoAt fails.
func DoAt(string, func() error) error { return errLinux }

// Enter fails.
func Enter(string) error { return errLinux }
