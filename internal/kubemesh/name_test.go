package kubemesh

import "testing"

func TestName(t *testing.T) {
	for in, want := range map[string][3]string{
		"reviews-v1-0":               {"pod", "reviews-v1-0", ""},
		"reviews-v1-0.shop":          {"pod", "reviews-v1-0", "shop"},
		"shop/reviews-v1-0":          {"pod", "reviews-v1-0", "shop"},
		"pod/reviews-v1-0.shop":      {"pod", "reviews-v1-0", "shop"},
		"db.example-0.shop":          {"pod", "db.example-0", "shop"},
		"deploy/reviews-v1":          {"deployment", "reviews-v1", ""},
		"deployment/reviews-v1.shop": {"deployment", "reviews-v1", "shop"},
	} {
		kind, name, namespace := Name(in)
		if got := [3]string{kind, name, namespace}; got != want {
			t.Errorf("%s: %v, want %v", in, got, want)
		}
	}
}
