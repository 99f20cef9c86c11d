package ca

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func tokenFor(t *testing.T, now time.Time, ttl time.Duration) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s, err := Token(key, "shop", "a", now, ttl)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestRemember: how often somebody is asked about tokens that come again and again.
func TestRemember(t *testing.T) {
	now := time.Now().Truncate(time.Second)
	token := func(ttl time.Duration) string { return tokenFor(t, now, ttl) }
	asked, bad := 0, false
	user := Remember(func(context.Context, string) (string, error) {
		asked++
		if bad {
			return "", errors.New("not known")
		}
		return "system:serviceaccount:shop:a", nil
	}, func() time.Time { return now })
	long, short := token(time.Hour), token(80*time.Second) // the second comes after a minute
	for _, tt := range []struct {
		name  string
		token string
		after time.Duration
		bad   bool
		asked int // in all
	}{
		{"first", long, 0, false, 1},
		{"again", long, 30 * time.Second, true, 1},
		{"a minute later", long, 30 * time.Second, true, 2},
		{"a bad answer is not remembered", long, 0, true, 3},
		{"it is good again", long, 0, false, 4},
		{"another token", short, 0, false, 5},
		{"before its end", short, 19 * time.Second, true, 5},
		{"past its end", short, time.Second, false, 6},
		{"past its end, again", short, 0, false, 7}, // whatever its judge says
		{"one that does not say when it ends", "opaque", 0, false, 8},
		{"that again", "opaque", 0, false, 9},
	} {
		now, bad = now.Add(tt.after), tt.bad
		before := asked
		got, err := user(t.Context(), tt.token)
		if asked != tt.asked || (err != nil) != (tt.bad && asked > before) || err == nil && got != "system:serviceaccount:shop:a" {
			t.Errorf("%s: %q, %v; asked %d times, want %d", tt.name, got, err, asked, tt.asked)
		}
	}
}

// TestRememberBounds: many callers with one token are one question, one who goes away takes it from nobody, and no more tokens are kept
// than there is room for.
func TestRememberBounds(t *testing.T) {
	var asked atomic.Int64
	began, answer := make(chan struct{}, 2), make(chan struct{})
	token := tokenFor(t, time.Now(), time.Hour)
	m := &memory{now: time.Now, good: map[[32]byte]owner{}, review: func(ctx context.Context, _ string) (string, error) {
		asked.Add(1)
		began <- struct{}{}
		select {
		case <-answer:
		case <-ctx.Done():
		}
		return "somebody", ctx.Err()
	}}
	gone, leave := context.WithCancel(t.Context())
	left := make(chan error)
	go func() {
		_, err := m.user(gone, token)
		left <- err
	}()
	<-began
	var all sync.WaitGroup
	for range 100 {
		all.Go(func() {
			if user, err := m.user(t.Context(), token); user != "somebody" || err != nil {
				t.Errorf("%q, %v", user, err)
			}
		})
	}
	leave()
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Errorf("who goes away gets %v", err)
	}
	close(answer)
	all.Wait()
	if n := asked.Load(); n != 1 {
		t.Errorf("asked %d times", n)
	}
	clear(m.good)
	end := time.Now().Add(time.Hour)
	for i := range mostRemembered + 100 {
		m.keep([32]byte([]byte(fmt.Sprintf("%032d", i))), owner{"somebody", end})
	}
	if len(m.good) != mostRemembered {
		t.Errorf("%d are remembered", len(m.good))
	}
	m.now = func() time.Time { return end }
	m.keep([32]byte{}, owner{"somebody", end.Add(time.Second)})
	if len(m.good) != 1 {
		t.Errorf("%d are remembered when all but one have ended", len(m.good))
	}
}
