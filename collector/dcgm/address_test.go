package dcgm

import (
	"context"
	"net"
	"path/filepath"
	"testing"
)

func TestARunningHostEngineIsUsed(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "nv-hostengine")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := tcp.Addr().String()
	f := func(configured string, simulated bool, places []string, want string) {
		t.Helper()
		got := (&Library{simulated: simulated}).address(context.Background(), Config{Address: configured, Places: places})
		if got != want {
			t.Errorf("address %q with %v is %q, want %q", configured, places, got, want)
		}
	}
	both := []string{"unix://" + socket, port}
	f("", false, both, "unix://"+socket)
	f("", false, both[1:], port)
	f("", false, []string{socket}, socket)
	f("", false, nil, Embedded)
	f(Embedded, false, both, Embedded) // asked for
	f("elsewhere:5555", false, both, "elsewhere:5555")
	f("", true, both, "") // our simulator is always in this process
	for _, l := range []net.Listener{l, tcp} {
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	f("", false, both, Embedded) // nobody listens any more
}
