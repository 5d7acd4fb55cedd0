package nvml

import "fmt"

// Return is nvmlReturn_t.
type Return int32

// The return codes that we act on.
const (
	OK                 Return = 0
	Uninitialized      Return = 1
	InvalidArgument    Return = 2
	NotSupported       Return = 3
	NoPermission       Return = 4
	NotFound           Return = 6
	DriverNotLoaded    Return = 9
	Timeout            Return = 10
	FunctionNotFound   Return = 13
	GPUIsLost          Return = 15
	ResetRequired      Return = 16
	DriverMismatch     Return = 18
	NoData             Return = 21
	ArgumentVersion    Return = 25
	Deprecated         Return = 26
	Unknown            Return = 999
	operatingSystem    Return = 17
	insufficientPower  Return = 8
	insufficientMemory Return = 20
)

// names of the codes without NVML_ (nvml.h of NVML 13).
var names = map[Return]string{
	0: "SUCCESS", 1: "ERROR_UNINITIALIZED", 2: "ERROR_INVALID_ARGUMENT", 3: "ERROR_NOT_SUPPORTED", 4: "ERROR_NO_PERMISSION",
	5: "ERROR_ALREADY_INITIALIZED", 6: "ERROR_NOT_FOUND", 7: "ERROR_INSUFFICIENT_SIZE", 8: "ERROR_INSUFFICIENT_POWER",
	9: "ERROR_DRIVER_NOT_LOADED", 10: "ERROR_TIMEOUT", 11: "ERROR_IRQ_ISSUE", 12: "ERROR_LIBRARY_NOT_FOUND",
	13: "ERROR_FUNCTION_NOT_FOUND", 14: "ERROR_CORRUPTED_INFOROM", 15: "ERROR_GPU_IS_LOST", 16: "ERROR_RESET_REQUIRED",
	17: "ERROR_OPERATING_SYSTEM", 18: "ERROR_LIB_RM_VERSION_MISMATCH", 19: "ERROR_IN_USE", 20: "ERROR_MEMORY", 21: "ERROR_NO_DATA",
	22: "ERROR_VGPU_ECC_NOT_SUPPORTED", 23: "ERROR_INSUFFICIENT_RESOURCES", 24: "ERROR_FREQ_NOT_SUPPORTED",
	25: "ERROR_ARGUMENT_VERSION_MISMATCH", 26: "ERROR_DEPRECATED", 27: "ERROR_NOT_READY", 28: "ERROR_GPU_NOT_FOUND",
	29: "ERROR_INVALID_STATE", 30: "ERROR_RESET_TYPE_NOT_SUPPORTED", 999: "ERROR_UNKNOWN",
}

// remedies say what a person can do.
var remedies = map[Return]string{
	Uninitialized:      "the driver went away under us; it will be looked for again",
	NotSupported:       "the device or driver lacks it",
	NoPermission:       "run the collector as root, or give its user the device files",
	DriverNotLoaded:    "load the NVIDIA driver",
	Timeout:            "the driver is slow; look at the kernel log",
	FunctionNotFound:   "the driver is older than the call; update it",
	GPUIsLost:          "the GPU fell off the bus; drain the node and reset it",
	ResetRequired:      "drain the node and reset the GPU",
	DriverMismatch:     "the driver was updated under the loaded library; restart the collector",
	insufficientPower:  "connect the power cables of the GPU",
	operatingSystem:    "cgroups or the container keep the device file from us; give access to /dev/nvidia*",
	insufficientMemory: "the driver has no memory left",
	Unknown:            "look at the kernel log",
}

// String is NVML's name for the code.
func (r Return) String() string {
	if n, ok := names[r]; ok {
		return "NVML_" + n
	}
	return fmt.Sprintf("NVML_%d", int32(r))
}

// Remedy says what a person can do about the code; it may be empty.
func (r Return) Remedy() string { return remedies[r] }

// Error is a call of NVML that did not succeed.
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

// dead says whether a code means that nothing more will come until NVML is initialised again.
func (r Return) dead() bool { return r == Uninitialized || r == DriverNotLoaded || r == DriverMismatch }

// lost says whether a code means that this GPU will not answer again before a person acts.
func (r Return) lost() bool { return r == GPUIsLost || r == ResetRequired }

// gone says whether a code means that the handle is none any more: an instance was destroyed.
func (r Return) gone() bool { return r == InvalidArgument || r == NotFound }

// never says whether a code, on first asking, means that there is no use in asking again.
func (r Return) never() bool {
	switch r {
	case NotSupported, NoPermission, FunctionNotFound, ArgumentVersion, Deprecated, InvalidArgument, NotFound:
		return true
	}
	return false
}
