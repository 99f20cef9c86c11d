package golanghost

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

const probing = `{"probe":{"tag":"t"}}`

// TestHost: what a policy may ask of its host, one exchange each.
func TestHost(t *testing.T) {
	for _, v := range []variant{plain, address} {
		t.Run(v.Name, func(t *testing.T) { testHost(t, v) })
	}
}

func testHost(t *testing.T, v variant) {
	s := newScript(t)
	s.config("c", "listener", probing)
	for _, actions := range []string{"", "edit", "tell", "reroute=v2", "call=nobody", "reply=503", "reply=503:9",
		"wait=60ms,reply=504", "mark,reply=403", "wait-response=60ms,mark", "lose=500,mark", "wait-response=30ms,lose=500", "wait=1ns,tell"} {
		s.exchange("c", "x-probe="+actions, "x-remove=1", "x-remove=2", "x-add=own", "x-empty=full")
	}
	s.end()
	r := s.run(v, probe(t))
	e := r.order
	r.want("passed through", e[0].upstream["x-probe-tag"]+" "+e[0].answer[":status"], "t 200")
	r.want("edits", fmt.Sprintf("%s|%s|%s", e[1].upstream["x-remove"], e[1].upstream["x-add"], e[1].upstream["x-empty"]), "|own,added|")
	r.want("route and address", e[2].upstream["x-tell"], "first 192.0.2.7")
	r.want("metadata", words(e[2].metadata), "map[mizzen:flags:PRA,PRB mizzen:over:true mizzen:told:yes]")
	r.want("reroute", e[3].upstream["x-route"]+" "+e[3].facts["cleared"], "v2 1")
	r.want("call", e[4].upstream["x-called"], "this host makes no calls")
	r.want("reply", words(e[5].answer[":status"], e[5].answer["x-reply"], e[5].details, e[5].answerBody, e[5].upstream), "503 probe mizzen_probe probe\n map[]")
	r.want("reply to no gRPC request", e[6].answer[":status"], "503")
	r.want("late reply", words(e[7].answer[":status"], e[7].took() >= 60*time.Millisecond, e[7].upstream), "504 true map[]")
	r.want("a reply passes the response side", e[8].answer["x-probe-response"], "403")
	r.want("late response", words(e[9].answer["x-probe-response"], e[9].took() >= 60*time.Millisecond), "200 true")
	r.want("lost response", words(e[10].answer[":status"], e[10].answer["x-reply"], e[10].facts["direct"]), "500 probe 1")
	r.want("lost late response", words(e[11].answer[":status"], e[11].facts["direct"]), "500 1")
	r.want("after the shortest wait", e[12].upstream["x-tell"], "first 192.0.2.7")
	r.want("begun", r.metrics["mizzen.probe_begun_total.tag.t"], len(e))
	r.want("ended", r.metrics["mizzen.probe_ended_total.tag.t"], len(e))
	r.want("open", r.metrics["mizzen.probe_open"], 0)
	r.nothingLeft()
}

// TestPanics: a panic in each callback costs the request that caused it no more than the policy, or answers 500 if the
// chain fails closed; the process lives, and a counter tells.
func TestPanics(t *testing.T) {
	s := newScript(t)
	s.config("open", "listener", probing)
	s.config("closed", "listener", `{"failure":"closed","probe":{"tag":"t"},"fault":{"rules":[]}}`)
	for _, actions := range []string{"panic", "wait=20ms,panic-resumed", "panic-response", "panic-end"} {
		s.exchange("open", "x-probe="+actions)
		s.exchange("closed", "x-probe="+actions)
	}
	s.exchange("open")
	s.end()
	r := s.run(plain, probe(t))
	var got []string
	for _, e := range r.order {
		got = append(got, e.answer[":status"])
	}
	r.want("answers", strings.Join(got, " "), "200 500 200 500 200 500 200 200 200")
	r.want("panics", r.metrics["mizzen.panics_total.policy.probe"], 8)
	r.want("why", r.order[0].metadata["mizzen:panic"], "probe: asked to panic")
	r.want("details", r.order[1].details, "mizzen_panic")
	r.want("panics that the SDK had to catch", len(r.lines["panic"]), 0)
	r.nothingLeft()
}

// TestBodies: bodies and trailers pass untouched and in order, also when they come while the headers wait.
func TestBodies(t *testing.T) {
	s := newScript(t)
	s.config("c", "listener", probing)
	for _, probe := range []string{"", "wait=50ms,wait-response=50ms"} {
		s.do(append([]string{"open", "c"}, request("x-probe="+probe)...)...)
		s.do("request")
		s.do("data", "one ")
		s.do("data", "two")
		s.do("trailers", "x-checksum=12")
		s.do("wait", "2000")
		s.do("response", ":status=200")
		s.do("response-data", "three ")
		s.do("response-data", "four")
		s.do("response-trailers", "grpc-status=0")
		s.do("wait", "2000")
		s.do("finish")
	}
	// No trailers: the end of the stream is the last data.
	s.do(append([]string{"open", "c"}, request("x-probe=wait=50ms")...)...)
	s.do("request")
	s.do("data", "all", "end")
	s.do("wait", "2000")
	s.do("response", ":status=204")
	s.do("response-data", "x", "end")
	s.do("wait", "2000")
	s.do("finish")
	// A reply while the body is on its way.
	s.do(append([]string{"open", "c"}, request("x-probe=wait=50ms,reply=413")...)...)
	s.do("request")
	s.do("data", "much")
	s.do("wait", "2000")
	s.do("finish")
	s.end()
	r := s.run(plain, probe(t))
	for _, e := range r.order[:2] {
		r.want("bodies", e.body+"|"+e.answerBody, "one two|three four")
		r.want("trailers", words(e.trailers, e.answerTrailers), "map[x-checksum:12] map[grpc-status:0]")
		r.want("ends", e.facts["request"]+" "+e.facts["response"], "ended ended")
	}
	r.want("the end with the data", words(r.order[2].body, r.order[2].facts["request"], r.order[2].facts["response"]), "all ended ended")
	r.want("reply", words(r.order[3].answer[":status"], len(r.order[3].body)), "413 0")
	r.nothingLeft()
}

// TestDestroyDuringDelay: a client that goes away while its request, or its response, is delayed leaves nothing
// behind, also when Envoy answers by itself meanwhile, or the configuration is replaced.
func TestDestroyDuringDelay(t *testing.T) {
	for _, v := range []variant{plain, address} {
		t.Run(v.Name, func(t *testing.T) {
			s := newScript(t)
			s.config("c", "listener", probing)
			open := func(actions string) {
				s.do(append([]string{"open", "c"}, request("x-probe="+actions)...)...)
				s.do("request", "end")
			}
			open("wait=40ms")
			s.do("destroy")
			open("wait=1ns") // the timer races the end
			s.do("destroy")
			open("wait=40ms,reply=500")
			s.do("wait", "5")
			s.do("destroy")
			open("wait-response=40ms")
			s.do("response", ":status=200")
			s.do("destroy")
			open("wait=40ms") // Envoy's own answer, a timeout say
			s.do("response", ":status=408")
			s.do("sleep", "60") // the delay's time has come, and nobody waits for it any more
			s.do("finish")
			open("wait=40ms")
			s.do("log-start")
			s.do("drop", "c")
			s.do("destroy")
			s.do("sleep", "100") // every timer's time has come
			s.end()
			r := s.run(v, probe(t))
			timeout := r.streams[5]
			r.want("Envoy's own answer", words(timeout.answer[":status"], timeout.upstream), "408 map[]")
			r.want("begun", r.metrics["mizzen.probe_begun_total.tag.t"], 6)
			r.want("ended while the configuration was there", r.metrics["mizzen.probe_ended_total.tag.t"], 5)
			r.nothingLeft()
		})
	}
}

// TestCrowd: four workers at once, one request in seven abandoned during its delay.
func TestCrowd(t *testing.T) {
	for _, v := range []variant{plain, address, thread} {
		t.Run(v.Name, func(t *testing.T) {
			const n = 400
			s := newScript(t)
			s.config("c", "listener", probing)
			s.do(append([]string{"crowd", "c", fmt.Sprint(n)}, request("x-probe=wait=1ms,tell")...)...)
			s.do(append([]string{"crowd", "c", fmt.Sprint(n)}, request("x-probe=wait=500us,reply=503")...)...)
			s.end()
			r := s.run(v, probe(t))
			r.want("outcomes", len(r.lines["crowd"]), 2)
			r.want("begun", r.metrics["mizzen.probe_begun_total.tag.t"], 8*n)
			r.want("ended", r.metrics["mizzen.probe_ended_total.tag.t"], 8*n)
			r.want("open", r.metrics["mizzen.probe_open"], 0)
			var upstream, answered int
			if _, err := fmt.Sscanf(r.lines["crowd"][0], "upstream=%d answered=%d", &upstream, &answered); err != nil || upstream < 4*n*6/7-4 {
				t.Errorf("first crowd: %s", r.lines["crowd"][0])
			}
			if _, err := fmt.Sscanf(r.lines["crowd"][1], "upstream=%d answered=%d", &upstream, &answered); err != nil || answered < 4*n*6/7-4 || upstream != 0 {
				t.Errorf("second crowd: %s", r.lines["crowd"][1])
			}
			r.nothingLeft()
		})
	}
}

// TestReroute: what the new route's metadata says holds for the rest of the chain, whether the route is selected anew on the
// worker or, after a delay, away from it; and a client may leave meanwhile.
func TestReroute(t *testing.T) {
	for _, v := range []variant{plain, address} {
		t.Run(v.Name, func(t *testing.T) {
			s := newScript(t)
			s.config("c", "listener", probing)
			s.do("route", "name=second", "present=x-route", `config={"fault":{"rules":[{"abort":{"percentage":100,"httpStatus":418}}]}}`)
			s.do("route", "name=first")
			for _, actions := range []string{"", "reroute=v2", "wait=20ms,reroute=v2"} {
				s.exchange("c", "x-probe="+actions)
			}
			s.do(append([]string{"open", "c"}, request("x-probe=wait=1ms,reroute=v2")...)...)
			s.do("request", "end")
			s.do("destroy")
			s.do("sleep", "30")
			s.end()
			r := s.run(v, probe(t))
			var got []string
			for _, e := range r.order[:3] {
				got = append(got, e.answer[":status"]+" "+e.facts["cleared"])
			}
			r.want("answers", strings.Join(got, ", "), "200 0, 418 1, 418 1")
			r.nothingLeft()
		})
	}
}
