package fault

import "testing"

func TestNearest(t *testing.T) {
	f := func(name, want string) {
		t.Helper()
		if got := Nearest(name, []string{"device", "tenant", "thousandths", "start", "end"}); got != want {
			t.Errorf("Nearest(%q) = %q, want %q", name, got, want)
		}
	}
	f("devcie", "device")
	f("Tenant", "tenant")
	f("thousands", "thousandths")
	f("stary", "start")
	f("gpu_uuid_of_the_card", "")
	f("", "")
}

func TestFaultSaysWhere(t *testing.T) {
	f := func(v Fault, want string) {
		t.Helper()
		if got := v.Error(); got != want {
			t.Errorf("%#v says %q, want %q", v, got, want)
		}
	}
	f(Fault{3, 7, "bad"}, "line 3, column 7: bad")
	f(Fault{3, 0, "bad"}, "line 3: bad")
	f(Fault{0, 0, "bad"}, "bad")
}
