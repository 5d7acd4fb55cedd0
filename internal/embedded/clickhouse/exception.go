package clickhouse

import (
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
)

// ClickHouse's own error codes (src/Common/ErrorCodes.cpp), as far as the host raises or maps them.
const (
	codeBadArguments     = 36
	codeNotImplemented   = 48
	codeUnknownTable     = 60
	codeSyntax           = 62
	codeUnknownFormat    = 73
	codeUnknownDatabase  = 81
	codeUnknownSetting   = 115
	codeTimeout          = 159
	codeReadonly         = 164
	codeUnknownUser      = 192
	codeWrongPassword    = 193
	codeRequiredPassword = 194
	codeQueryTooLarge    = 229
	codeMemoryLimit      = 241
	codeCancelled        = 394
	codeAccessDenied     = 497
	codeAuthFailed       = 516
	codeUnknown          = 1002
	codeChecksum         = 40
	codeCannotDecompress = 271
	codeCannotReadAll    = 33
)

// Exception is an error in ClickHouse's own terms: what the engine said, or what the host refuses in its name.
type Exception struct {
	Code    int
	Message string // the whole text, beginning with "Code: N."
	// Reason is empty for what the engine said, and a short constant for what the host refused; it labels a counter.
	Reason string
}

func (e *Exception) Error() string { return e.Message }

// refuse is an exception that the host raises itself, in the form the engine would have used.
func refuse(code int, reason, format string, args ...any) *Exception {
	return &Exception{
		Code:    code,
		Reason:  reason,
		Message: fmt.Sprintf("Code: %d. DB::Exception: %s. (%s)", code, fmt.Sprintf(format, args...), codeNames[code]),
	}
}

var codeNames = map[int]string{
	codeBadArguments: "BAD_ARGUMENTS", codeNotImplemented: "NOT_IMPLEMENTED", codeSyntax: "SYNTAX_ERROR",
	codeUnknownSetting: "UNKNOWN_SETTING", codeReadonly: "READONLY", codeRequiredPassword: "REQUIRED_PASSWORD",
	codeQueryTooLarge: "QUERY_IS_TOO_LARGE", codeMemoryLimit: "MEMORY_LIMIT_EXCEEDED", codeCancelled: "QUERY_WAS_CANCELLED",
	codeAccessDenied: "ACCESS_DENIED", codeAuthFailed: "AUTHENTICATION_FAILED", codeCannotDecompress: "CANNOT_DECOMPRESS",
	codeCannotReadAll: "CANNOT_READ_ALL_DATA", codeUnknown: "UNKNOWN_EXCEPTION",
}

var codePattern = regexp.MustCompile(`^Code: (\d+)\.`)

// parseException reads the engine's text. One without a code keeps its words and gets the code of an unknown exception.
func parseException(text string) *Exception {
	text = strings.TrimSpace(text)
	m := codePattern.FindStringSubmatch(text)
	if m == nil {
		return &Exception{Code: codeUnknown, Message: fmt.Sprintf("Code: %d. DB::Exception: %s (UNKNOWN_EXCEPTION)", codeUnknown, text)}
	}
	code, err := strconv.Atoi(m[1])
	if err != nil || code == 0 {
		code = codeUnknown
	}
	return &Exception{Code: code, Message: text}
}

// status is the HTTP status that ClickHouse's server gives this code (src/Server/HTTP/exceptionCodeToHTTPStatus.cpp).
// The numbers it maps are listed there by name; the ones that no query of ours can meet are left to 500.
func (e *Exception) status() int {
	switch e.Code {
	case codeRequiredPassword:
		return http.StatusUnauthorized
	case codeUnknownUser, codeWrongPassword, codeAuthFailed, codeAccessDenied, codeReadonly:
		return http.StatusForbidden
	case codeBadArguments, codeSyntax, codeCannotDecompress, codeChecksum, codeCannotReadAll,
		6, 26, 27, 38, 41, 53, 69, 70, 72, 117, 130, 131, 420, 427, 456, 457: // cannot parse, type mismatch, incorrect data, parameters
		return http.StatusBadRequest
	case codeUnknownTable, codeUnknownDatabase, codeUnknownSetting, codeUnknownFormat,
		46, 47, 50, 56, 63, 78, 336: // unknown function, identifier, type, storage, aggregate, kind of query, database engine
		return http.StatusNotFound
	case codeQueryTooLarge:
		return http.StatusRequestEntityTooLarge
	case codeNotImplemented:
		return http.StatusNotImplemented
	case codeTimeout:
		return http.StatusRequestTimeout
	default:
		return http.StatusInternalServerError
	}
}
