package ca

import (
	"context"
	"crypto/sha256"
	"fmt"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"golang.org/x/sync/singleflight"
)

// remembered is how long a good token needs no other question: so long may one that is withdrawn, as with the Pod that it is bound to, pass
// still. An API server remembers what its own authenticators say for twice that.
const remembered = time.Minute

// mostRemembered is how many tokens are remembered at most.
const mostRemembered = 20000

// Remember is a ByReview.Review that asks review once for each token while many come with it, and not again within a minute of a good
// answer, or up to the token's own end if that is earlier. Bad answers are not remembered. Of a token its hash is kept.
func Remember(review func(ctx context.Context, token string) (user string, err error), now func() time.Time) func(context.Context, string) (string, error) {
	m := &memory{review: review, now: now, good: map[[sha256.Size]byte]owner{}}
	return m.user
}

type memory struct {
	review func(context.Context, string) (string, error)
	now    func() time.Time
	asking singleflight.Group

	mu   sync.Mutex
	good map[[sha256.Size]byte]owner // by the token's hash
}

type owner struct {
	user  string
	until time.Time
}

func (m *memory) user(ctx context.Context, token string) (string, error) {
	sum := sha256.Sum256([]byte(token))
	if user, ok := m.recall(sum); ok {
		return user, nil
	}
	answer := m.asking.DoChan(string(sum[:]), func() (any, error) {
		user, err := m.review(context.WithoutCancel(ctx), token) // others wait for it, too
		if err == nil {
			m.keep(sum, owner{user, endOfToken(token, m.now().Add(remembered))})
		}
		return user, err
	})
	select {
	case <-ctx.Done():
		return "", fmt.Errorf("ask whose token it is: %w", ctx.Err())
	case a := <-answer:
		user, _ := a.Val.(string)
		return user, a.Err
	}
}

func (m *memory) recall(sum [sha256.Size]byte) (user string, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	k, ok := m.good[sum]
	return k.user, ok && m.now().Before(k.until)
}

func (m *memory) keep(sum [sha256.Size]byte, k owner) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now()
	if len(m.good) >= mostRemembered {
		for sum, k := range m.good {
			if !now.Before(k.until) {
				delete(m.good, sum)
			}
		}
	}
	if len(m.good) < mostRemembered && now.Before(k.until) {
		m.good[sum] = k
	}
}

// endOfToken is when a token ends that is known to be good, at most latest. One that does not say, or is no JWT, has ended.
func endOfToken(token string, latest time.Time) time.Time {
	parsed, _, err := jwt.NewParser().ParseUnverified(token, jwt.MapClaims{})
	if err != nil {
		return time.Time{}
	}
	end, err := parsed.Claims.GetExpirationTime()
	if err != nil || end == nil {
		return time.Time{}
	}
	if end.Before(latest) {
		return end.Time
	}
	return latest
}
