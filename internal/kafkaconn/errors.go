package kafkaconn

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"

	"github.com/segmentio/kafka-go"
)

// ErrFenced means that this claim is over: the partition belongs to a later generation, or the
// connection that our membership hangs on is gone. What was stored since the last commit on record
// is delivered again, to us or to another member. Drop the claim and return this error.
var ErrFenced = errors.New("the claim on the partition is over")

// RangeError means the broker does not hold the offset we have to read next. Data between
// Wanted and First is gone if Wanted < First; the log lost its tail if Wanted > End.
type RangeError struct {
	Topic     string
	Partition int
	// Wanted is the next offset of ours.
	Wanted int64
	// First and End are what the broker holds: [First, End).
	First, End int64
}

func (e *RangeError) Error() string {
	if e.Wanted < e.First {
		return fmt.Sprintf("topic %s partition %d: offset %d is wanted but the log starts at %d: %d messages were removed before they were read",
			e.Topic, e.Partition, e.Wanted, e.First, e.First-e.Wanted)
	}
	return fmt.Sprintf("topic %s partition %d: offset %d is wanted but the log ends at %d: its tail was lost", e.Topic, e.Partition, e.Wanted, e.End)
}

// Temporary reports whether trying again later may help: the cluster is away, moves a leader or
// is short of replicas. A refused message, a wrong password or a cancelled context is not temporary.
func Temporary(err error) bool {
	if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, ErrFenced) {
		return false
	}
	if range_ := (*RangeError)(nil); errors.As(err, &range_) {
		return false
	}
	if errs := kafka.WriteErrors(nil); errors.As(err, &errs) {
		// One hopeless message makes the whole call hopeless; the others would only repeat.
		for _, e := range errs {
			if e != nil && !Temporary(e) {
				return false
			}
		}
		return errs.Count() > 0
	}
	if tooLarge := (kafka.MessageTooLargeError{}); errors.As(err, &tooLarge) {
		return false
	}
	if k := kafka.Error(0); errors.As(err, &k) {
		switch k {
		case kafka.InvalidMessage: // kafka-go calls it temporary; the same bytes fail the same way
			return false
		case kafka.RebalanceInProgress, kafka.Unknown:
			return true
		}
		return k.Temporary() || k.Timeout()
	}
	for _, hopeless := range []func(error) bool{
		as[*tls.CertificateVerificationError], as[x509.UnknownAuthorityError], as[x509.HostnameError], as[tls.RecordHeaderError],
	} {
		if hopeless(err) {
			return false
		}
	}
	for _, passing := range []error{
		context.DeadlineExceeded, io.EOF, io.ErrUnexpectedEOF, io.ErrClosedPipe, io.ErrNoProgress, net.ErrClosed,
		syscall.ECONNREFUSED, syscall.ECONNRESET, syscall.EPIPE,
	} {
		if errors.Is(err, passing) {
			return true
		}
	}
	var network net.Error
	return errors.As(err, &network)
}

func as[E error](err error) bool {
	var e E
	return errors.As(err, &e)
}

func fenced(err error) bool {
	for _, k := range []kafka.Error{kafka.IllegalGeneration, kafka.UnknownMemberId, kafka.RebalanceInProgress, kafka.FencedInstanceID, kafka.MemberIDRequired} {
		if errors.Is(err, k) {
			return true
		}
	}
	return false
}
