package e2e

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// ClickHouse is in trouble of several kinds. Ingest waits, says why, and goes on by itself when the trouble is over.
func TestClickHouseInTroubleIsWaitedOut(t *testing.T) {
	t.Parallel() // it mostly waits
	troubles(t, time.Second, time.Second, 5*time.Minute)
}

// troubles lets the engine be away, and every other trouble last, for so long after ingest has noticed it.
func troubles(t *testing.T, away, others, limit time.Duration) {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	p := newPlant(t, 2, limit)
	f := newFleet(p, 4, rand.New(rand.NewPCG(seed, 0)))
	f.run(30 * time.Millisecond)
	trouble := func(name, why string, lasting time.Duration, begin, end func()) {
		t.Helper()
		t.Log("ClickHouse is", name)
		p.waitedOut(lasting, why, begin, end)
	}
	trouble("away", "connection refused|connection reset|EOF", away, p.engine.kill, p.startEngine)
	trouble("read-only", "TABLE_IS_READ_ONLY", others, func() {
		p.sql("ALTER TABLE samples MODIFY SETTING table_readonly = 1")
	}, func() {
		p.sql("ALTER TABLE samples MODIFY SETTING table_readonly = 0")
	})
	trouble("full of parts", "TOO_MANY_PARTS", others, func() {
		p.sql("SYSTEM STOP MERGES samples")
		p.sql("ALTER TABLE samples MODIFY SETTING parts_to_delay_insert = 5, parts_to_throw_insert = 5")
	}, func() {
		p.sql("ALTER TABLE samples RESET SETTING parts_to_delay_insert, parts_to_throw_insert")
		p.sql("SYSTEM START MERGES samples")
	})
	p.ingest()
	p.storedOnce(f)
}

// The engine's disk is a small one, and somebody else fills it.
func TestAFullDiskIsWaitedOut(t *testing.T) {
	t.Parallel() // it mostly waits
	fullDisk(t, time.Second, 5*time.Minute)
}

func fullDisk(t *testing.T, lasting, limit time.Duration) {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	data := filepath.Join(t.TempDir(), "data")
	disk := filepath.Join(data, "clickhouse")
	if err := os.MkdirAll(disk, 0o750); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=128m,mode=0750"); err != nil {
		t.Skipf("not tried: a small disk has to be mounted, which needs root and the right to mount: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(disk, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	p := plantOn(t, data, 2, limit)
	f := newFleet(p, 4, rand.New(rand.NewPCG(seed, 0)))
	f.run(30 * time.Millisecond)
	ballast := filepath.Join(disk, "ballast")
	p.waitedOut(lasting, "NOT_ENOUGH_SPACE|No space left", func() {
		if err := fill(ballast); !errors.Is(err, syscall.ENOSPC) {
			t.Fatal(err)
		}
	}, func() {
		if err := os.Remove(ballast); err != nil {
			t.Fatal(err)
		}
	})
	p.ingest()
	p.storedOnce(f)
}

// fill writes a file until the disk is full.
func fill(name string) error {
	file, err := os.Create(name)
	if err != nil {
		return err
	}
	defer file.Close()
	for buf := make([]byte, 64<<10); ; {
		if _, err := file.Write(buf); err != nil {
			return err
		}
	}
}

// waitedOut starts an ingester, which stores, then meets the trouble, then catches up by itself.
func (p *plant) waitedOut(lasting time.Duration, why string, begin, end func()) {
	p.t.Helper()
	in := p.run("ingest", "--metrics-listen", "127.0.0.1:0") // the trouble is the engine's own, so the way is straight
	committed := func() (sum int64) {
		for _, l := range p.lag() {
			sum += max(l.Committed, 0)
		}
		return sum
	}
	before := committed()
	p.until("ingest commits", time.Minute, func() bool { return committed() > before })

	begin()
	said := regexp.MustCompile(`trying again.*(` + why + `)`)
	in.until("ingest says why it waits", time.Minute, func() bool { return said.MatchString(in.err.String()) })
	in.until("it is counted", time.Minute, func() bool { return in.metric("wattledger_ingest_retries_total") > 0 })
	in.until("readiness says what is waited for", time.Minute, func() bool {
		status, body := get(fmt.Sprintf("http://%s/readyz", in.address()))
		return status == http.StatusServiceUnavailable && strings.Contains(body, `"ingest":`)
	})
	first := in.metric("wattledger_ingest_retries_total")
	at := committed()
	time.Sleep(lasting)
	if now := committed(); now != at {
		p.t.Errorf("%d messages were committed while nothing could be stored", now-at)
	}
	p.until("ingest goes on trying", time.Minute, func() bool { return in.metric("wattledger_ingest_retries_total") > first })
	if behind := in.metric("wattledger_ingest_lag_messages"); behind == 0 {
		p.t.Error("the backlog is not shown")
	}

	end()
	ended := p.lag()
	p.until("ingest has caught up", 2*time.Minute, func() bool {
		for partition, l := range p.lag() {
			if l.Committed < ended[partition].End {
				return false
			}
		}
		return true
	})
	retries, most := in.metric("wattledger_ingest_retries_total"), in.peak()
	p.t.Logf("%v tries, %d MiB at most", retries, most>>20)
	if most > 512<<20 {
		p.t.Errorf("ingest took %d MiB", most>>20)
	}
	in.stops()
}

// peak is the most memory that a process has held, in bytes.
func (r *running) peak() int64 {
	r.t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", r.cmd.Process.Pid))
	if err != nil {
		r.t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			if err != nil {
				r.t.Fatal(err)
			}
			return kib << 10
		}
	}
	r.t.Fatal("no VmHWM")
	return 0
}
