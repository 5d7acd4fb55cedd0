package dcgm_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/wattledger/wattledger/collector/dcgm"
	"github.com/wattledger/wattledger/collector/dcgm/simctl/simtest"
)

func TestErrorsSayWhatToDo(t *testing.T) {
	lib, _ := simtest.Play(t, head+"node n1 hgx-b200\n")
	l, err := dcgm.Load(lib)
	if err != nil {
		t.Fatal(err)
	}
	_, err = l.Connect(dcgm.Options{Address: "elsewhere:5555", Timeout: time.Second})
	var e *dcgm.Error
	if !errors.As(err, &e) || e.Return != dcgm.ConnectionNotValid || e.Code() != "DCGM_ST_CONNECTION_NOT_VALID" {
		t.Fatalf("connecting to nobody gave %v", err)
	}
	for _, want := range []string{"elsewhere:5555", "-21", "nv-hostengine"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not mention %s", err, want)
		}
	}
	_, err = dcgm.Load("/nowhere/libdcgm.so.4")
	var missing *dcgm.NotFoundError
	if !errors.As(err, &missing) || !strings.Contains(err.Error(), "datacenter-gpu-manager-4-core") || !strings.Contains(err.Error(), "/nowhere/libdcgm.so.4") {
		t.Errorf("a missing library gave %v", err)
	}
}

func TestEmbeddedIsOnlyOne(t *testing.T) {
	lib, _ := simtest.Play(t, head+"node n1 hgx-b200\n")
	l, err := dcgm.Load(lib)
	if err != nil {
		t.Fatal(err)
	}
	c, err := l.Connect(dcgm.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if v, err := c.EngineVersion(); err != nil || !strings.HasPrefix(v, "4.") {
		t.Errorf("engine version is %q, %v", v, err)
	}
	if v, err := l.Version(); err != nil || !strings.HasPrefix(v, "4.") {
		t.Errorf("library version is %q, %v", v, err)
	}
	if _, err := l.Connect(dcgm.Options{}); err == nil || !strings.Contains(err.Error(), "already") {
		t.Errorf("a second embedded engine gave %v", err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if c, err = l.Connect(dcgm.Options{}); err != nil {
		t.Errorf("after closing the first: %v", err)
	} else if err := c.Close(); err != nil {
		t.Error(err)
	}
}
