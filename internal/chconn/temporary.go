package chconn

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"syscall"

	"github.com/ClickHouse/clickhouse-go/v2"
)

// ClickHouse's error codes (src/Common/ErrorCodes.cpp) that a caller acts on.
const (
	codeUnknownDatabase  = 81
	codeWrongPassword    = 193
	codeRequiredPassword = 194
	codeAuthFailed       = 516
)

// temporaryCodes are the exceptions that the same statement may not meet again: the server is busy, full, starting,
// or has lost a neighbour. All others are about the statement, and repeating it repeats them.
var temporaryCodes = map[int32]bool{
	3:   true, // UNEXPECTED_END_OF_FILE
	32:  true, // ATTEMPT_TO_READ_AFTER_EOF
	33:  true, // CANNOT_READ_ALL_DATA: the body broke off on the way
	159: true, // TIMEOUT_EXCEEDED
	173: true, // CANNOT_ALLOCATE_MEMORY
	198: true, // DNS_ERROR
	201: true, // QUOTA_EXCEEDED
	202: true, // TOO_MANY_SIMULTANEOUS_QUERIES
	209: true, // SOCKET_TIMEOUT
	210: true, // NETWORK_ERROR
	225: true, // NO_ZOOKEEPER
	236: true, // ABORTED
	241: true, // MEMORY_LIMIT_EXCEEDED
	242: true, // TABLE_IS_READ_ONLY: a replica that has lost its keeper
	243: true, // NOT_ENOUGH_SPACE
	252: true, // TOO_MANY_PARTS
	265: true, // CANNOT_REOPEN_FILE after a crash
	279: true, // ALL_CONNECTION_TRIES_FAILED
	285: true, // TOO_FEW_LIVE_REPLICAS
	286: true, // UNSATISFIED_QUORUM_FOR_PREVIOUS_WRITE
	298: true, // CANNOT_PIPE
	303: true, // SERVER_OVERLOADED of old versions
	319: true, // UNKNOWN_STATUS_OF_INSERT: the dedup token makes repeating safe
	394: true, // QUERY_WAS_CANCELLED: by a server that stops
	425: true, // SYSTEM_ERROR
	439: true, // CANNOT_SCHEDULE_TASK
	473: true, // DEADLOCK_AVOIDED
	745: true, // SERVER_OVERLOADED
	999: true, // KEEPER_EXCEPTION
}

// Temporary tells whether the same statement may succeed when tried again: the way was cut, or the server is short of
// something. It is false for nil, for what is wrong with the statement, and when the caller's own context ended.
func Temporary(err error) bool {
	if err == nil || errors.Is(err, context.Canceled) {
		return false
	}
	if code := Code(err); code != 0 {
		return temporaryCodes[code]
	}
	var answer *clickhouse.HTTPError
	if errors.As(err, &answer) {
		// A proxy speaks: it has no exception code.
		switch answer.StatusCode {
		case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
			return true
		}
		return false
	}
	for _, target := range []error{
		io.EOF, io.ErrUnexpectedEOF, net.ErrClosed, context.DeadlineExceeded,
		syscall.ECONNREFUSED, syscall.ECONNRESET, syscall.ECONNABORTED, syscall.EPIPE, syscall.ETIMEDOUT,
		syscall.EHOSTUNREACH, syscall.ENETUNREACH, clickhouse.ErrAcquireConnTimeout,
	} {
		if errors.Is(err, target) {
			return true
		}
	}
	var network net.Error
	if errors.As(err, &network) && network.Timeout() {
		return true
	}
	var dns *net.DNSError
	return errors.As(err, &dns) && dns.IsTemporary
}

// Code is ClickHouse's exception code, or 0 when the error is none of the server's.
func Code(err error) int32 {
	var exception *clickhouse.Exception
	if errors.As(err, &exception) {
		return exception.Code
	}
	return 0
}
