package process

import (
	"context"
	"fmt"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sys/unix"
)

// notify tells systemd how the process is. Without systemd nobody listens, and an error means no more than that.
func (e *Env) notify(state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		e.Log.Debug("systemd was not told", "state", state, "error", err)
	}
}

// Status shows one line in systemctl status.
func (e *Env) Status(format string, args ...any) {
	e.notify("STATUS=" + fmt.Sprintf(format, args...))
}

// Reloading tells systemd that a reload has begun; Ready, or the start of a fresh process, ends it. systemd orders the two
// by the monotonic clock (sd_notify(3), Type=notify-reload).
func (e *Env) Reloading() {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &t); err != nil {
		return
	}
	e.notify(fmt.Sprintf("%s\nMONOTONIC_USEC=%d", daemon.SdNotifyReloading, t.Nano()/1000))
}

// Ready tells systemd that the process is up.
func (e *Env) Ready() { e.notify(daemon.SdNotifyReady) }

// attend tells systemd that the process is up, then that it lives, as often as its unit asks for (WatchdogSec), and in the end
// that it stops. One that is replaced reloads instead: after STOPPING systemd would wait for its end, and then kill the fresh one.
func (e *Env) attend(ctx context.Context) error {
	e.Ready()
	defer func() {
		if e.replacing.Load() {
			e.Reloading()
			return
		}
		e.notify(daemon.SdNotifyStopping)
	}()
	every, err := daemon.SdWatchdogEnabled(false)
	if err != nil || every <= 0 {
		<-ctx.Done()
		return nil
	}
	tick := time.NewTicker(every / 2)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			e.notify(daemon.SdNotifyWatchdog)
		}
	}
}
