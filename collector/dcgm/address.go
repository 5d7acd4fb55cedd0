package dcgm

import (
	"context"
	"net"
	"strings"
	"time"
)

// probeTimeout bounds a look at a place where a host engine may listen. They are all on this machine.
const probeTimeout = 300 * time.Millisecond

// address is the host engine to use: the one that is configured, else the first of the usual places where one listens, else
// our own. Two engines on one node would make every call of the driver twice. The simulated library has its engines
// inside, so nothing outside is of use to it.
func (l *Library) address(ctx context.Context, cfg Config) string {
	if cfg.Address != "" || l.simulated {
		return cfg.Address
	}
	for _, place := range cfg.Places {
		if listening(ctx, place) {
			return place
		}
	}
	return Embedded
}

// listening says whether somebody accepts connections at a place.
func listening(ctx context.Context, place string) bool {
	network, address := "tcp", place
	if socket, ok := strings.CutPrefix(place, "unix://"); ok {
		network, address = "unix", socket
	} else if strings.HasPrefix(place, "/") {
		network = "unix"
	}
	d := net.Dialer{Timeout: probeTimeout}
	conn, err := d.DialContext(ctx, network, address)
	if err != nil {
		return false
	}
	// It accepted: that is all we wanted to know.
	return conn.Close() == nil
}
