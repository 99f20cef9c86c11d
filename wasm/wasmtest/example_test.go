package wasmtest_test

import (
	"fmt"
	"time"

	"github.com/mizzen-mesh/mizzen/wasm/wasmtest"
)

// A module is compiled once, here in TestMain; every test starts VMs of its own from it.
func Example() {
	vm, err := hello.Start(wasmtest.Options{Config: "good day"})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer vm.Close()

	// What the upstream would get, and what the client would.
	s := vm.Request(wasmtest.H(":path: /books", "x-gone: 1"))
	fmt.Printf("greeting %q, x-gone %v\n", s.Upstream().Get("x-greeting"), s.Upstream().Has("x-gone"))
	s.Response(wasmtest.H(":status: 204"))
	fmt.Println(s.Downstream().Get(":status"), s.Downstream().Get("x-signed"))
	s.End()

	// A local reply.
	r := vm.Request(wasmtest.H("x-hello: reply")).Reply()
	fmt.Printf("%d %q\n", r.Status, r.Body)

	// A delay: time moves when the test says so.
	w := vm.Request(wasmtest.H("x-hello: wait"))
	fmt.Print(w.Paused(), " ")
	vm.Advance(100 * time.Millisecond)
	fmt.Println(w.Paused())

	// An HTTP call to a cluster.
	a := vm.Request(wasmtest.H("x-hello: ask"))
	vm.Calls()[0].Respond(wasmtest.H(":status: 200"), []byte("ann"), nil)
	fmt.Println(a.Upstream().Get("x-who"))

	fmt.Println(vm.Metric("hello_requests"), "requests")
	// Output:
	// greeting "good day ", x-gone false
	// 204 hello
	// 403 "no\n"
	// true false
	// ann
	// 4 requests
}
