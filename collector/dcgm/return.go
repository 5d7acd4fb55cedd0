package dcgm

import (
	"errors"
	"fmt"
)

// Return is dcgmReturn_t.
type Return int32

// The return codes that we act on.
const (
	OK                    Return = 0
	BadParam              Return = -1
	NotConfigured         Return = -5
	NotSupported          Return = -6
	Uninitialized         Return = -10
	Timeout               Return = -11
	VersionMismatch       Return = -12
	UnknownField          Return = -13
	NoData                Return = -14
	NotWatched            Return = -16
	NoPermission          Return = -17
	GPUIsLost             Return = -18
	GPUNotSupported       Return = -22
	GroupIncompatible     Return = -23
	FunctionNotFound      Return = -20
	ConnectionNotValid    Return = -21
	MaxLimit              Return = -24
	LibraryNotFound       Return = -25
	RequiresRoot          Return = -29
	FieldUnsupportedByAPI Return = -32
	ModuleNotLoaded       Return = -33
	ProfilingNotSupported Return = -36
	ProfilingLibraryError Return = -37
	ProfilingMultiPass    Return = -38
	InsufficientDriver    Return = -44
	InstanceNotFound      Return = -45
	ComputeNotFound       Return = -46
	Paused                Return = -54
	NVMLNotLoaded         Return = -56
	NVMLDriverTimeout     Return = -57
	GPUsDetached          Return = -67
)

// names of the codes without DCGM_ST_, by -code (dcgm_structs.h 4.6.0).
var names = map[Return]string{
	0: "OK", -1: "BADPARAM", -3: "GENERIC_ERROR", -4: "MEMORY", -5: "NOT_CONFIGURED", -6: "NOT_SUPPORTED", -7: "INIT_ERROR",
	-8: "NVML_ERROR", -9: "PENDING", -10: "UNINITIALIZED", -11: "TIMEOUT", -12: "VER_MISMATCH", -13: "UNKNOWN_FIELD",
	-14: "NO_DATA", -15: "STALE_DATA", -16: "NOT_WATCHED", -17: "NO_PERMISSION", -18: "GPU_IS_LOST", -19: "RESET_REQUIRED",
	-20: "FUNCTION_NOT_FOUND", -21: "CONNECTION_NOT_VALID", -22: "GPU_NOT_SUPPORTED", -23: "GROUP_INCOMPATIBLE",
	-24: "MAX_LIMIT", -25: "LIBRARY_NOT_FOUND", -26: "DUPLICATE_KEY", -27: "GPU_IN_SYNC_BOOST_GROUP",
	-28: "GPU_NOT_IN_SYNC_BOOST_GROUP", -29: "REQUIRES_ROOT", -30: "NVVS_ERROR", -31: "INSUFFICIENT_SIZE",
	-32: "FIELD_UNSUPPORTED_BY_API", -33: "MODULE_NOT_LOADED", -34: "IN_USE", -35: "GROUP_IS_EMPTY",
	-36: "PROFILING_NOT_SUPPORTED", -37: "PROFILING_LIBRARY_ERROR", -38: "PROFILING_MULTI_PASS", -39: "DIAG_ALREADY_RUNNING",
	-40: "DIAG_BAD_JSON", -41: "DIAG_BAD_LAUNCH", -42: "DIAG_UNUSED", -43: "DIAG_THRESHOLD_EXCEEDED",
	-44: "INSUFFICIENT_DRIVER_VERSION", -45: "INSTANCE_NOT_FOUND", -46: "COMPUTE_INSTANCE_NOT_FOUND", -47: "CHILD_NOT_KILLED",
	-48: "3RD_PARTY_LIBRARY_ERROR", -49: "INSUFFICIENT_RESOURCES", -50: "PLUGIN_EXCEPTION", -51: "NVVS_ISOLATE_ERROR",
	-52: "NVVS_BINARY_NOT_FOUND", -53: "NVVS_KILLED", -54: "PAUSED", -55: "ALREADY_INITIALIZED", -56: "NVML_NOT_LOADED",
	-57: "NVML_DRIVER_TIMEOUT", -58: "NVVS_NO_AVAILABLE_TEST", -67: "GPUS_DETACHED",
}

// remedies say what a person can do.
var remedies = map[Return]string{
	NotSupported:          "the device or driver lacks it",
	Uninitialized:         "the connection is dead; it will be made anew",
	Timeout:               "the host engine or the driver is slow; look at its log",
	VersionMismatch:       "the library is not a DCGM 4.x; install datacenter-gpu-manager-4-core",
	UnknownField:          "the library or host engine is older than the field; update DCGM",
	NoPermission:          "run the host engine as root",
	GPUIsLost:             "the GPU fell off the bus; drain the node and reset it",
	FunctionNotFound:      "the library is newer than the host engine; load the node's own libdcgm.so.4",
	ConnectionNotValid:    "check that nv-hostengine runs and that the address is right (nvidia-dcgm.service, port 5555)",
	MaxLimit:              "64 groups are in use in the host engine; close other clients",
	LibraryNotFound:       "a DCGM module is missing; install datacenter-gpu-manager-4-core",
	RequiresRoot:          "run the host engine as root",
	ModuleNotLoaded:       "the module is missing or refused in the host engine",
	ProfilingNotSupported: "GPUs before Hopper need datacenter-gpu-manager-4-proprietary",
	Paused:                "a diagnostic runs; readings resume after it",
	NVMLNotLoaded:         "load the NVIDIA driver",
	NVMLDriverTimeout:     "the driver hangs; reboot the node",
	GPUsDetached:          "the driver was detached on purpose; readings resume when it is attached",
}

// String is DCGM's name for the code.
func (r Return) String() string {
	if n, ok := names[r]; ok {
		return "DCGM_ST_" + n
	}
	return fmt.Sprintf("DCGM_ST_%d", int32(r))
}

// Remedy says what a person can do about the code; it may be empty.
func (r Return) Remedy() string { return remedies[r] }

// Error is a call of DCGM that did not succeed.
type Error struct {
	// Doing is what was attempted, and on what.
	Doing  string
	Return Return
}

func (e *Error) Error() string {
	s := fmt.Sprintf("%s: %s (%d)", e.Doing, e.Return, int32(e.Return))
	if r := e.Return.Remedy(); r != "" {
		s += ": " + r
	}
	return s
}

// Code is the name of the code, for metrics and logs.
func (e *Error) Code() string { return e.Return.String() }

// Is matches another *Error by code alone, so that errors.Is(err, &Error{Return: Timeout}) asks for a code.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Doing == "" && t.Return == e.Return
}

// check makes an error of a code that is not OK.
func check(r Return, format string, args ...any) error {
	if r == OK {
		return nil
	}
	return &Error{Doing: fmt.Sprintf(format, args...), Return: r}
}

// ofField says whether an error is about what was asked for, and not about the engine: without the field all may be well.
func ofField(err error) bool {
	var e *Error
	if !errors.As(err, &e) {
		return false
	}
	switch e.Return {
	case BadParam, NotSupported, UnknownField, NoPermission, GPUNotSupported, GroupIncompatible, LibraryNotFound, RequiresRoot,
		FieldUnsupportedByAPI, ModuleNotLoaded, ProfilingNotSupported, ProfilingLibraryError, ProfilingMultiPass, InsufficientDriver:
		return true
	}
	return false
}

// refusal is what the code of a call that was refused says about the fields that were asked for.
func (r Return) refusal() refusal {
	if r == NoPermission || r == RequiresRoot {
		return denied
	}
	return lacking
}

// code is the return code in an error, OK when there is none.
func code(err error) Return {
	var e *Error
	if errors.As(err, &e) {
		return e.Return
	}
	return OK
}

// dead says whether a code means that nothing more will come over the connection.
func (r Return) dead() bool { return r == ConnectionNotValid || r == Uninitialized }
