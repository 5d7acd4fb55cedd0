/* text.c: return codes in words. */
#include "wlsim.h"

EXPORT const char *errorString(int32_t code)
{
	switch (code) {
	case ST_OK:
		return "Success";
	case ST_BADPARAM:
		return "Bad parameter passed to function";
	case ST_GENERIC_ERROR:
		return "Generic unspecified error";
	case ST_MEMORY:
		return "Out of memory error";
	case ST_NOT_CONFIGURED:
		return "Setting not configured";
	case ST_NOT_SUPPORTED:
		return "Feature not supported";
	case ST_UNINITIALIZED:
		return "DCGM initialization error";
	case -11:
		return "Timeout";
	case ST_VER_MISMATCH:
		return "API version mismatch";
	case ST_UNKNOWN_FIELD:
		return "Unknown field identifier";
	case ST_NO_DATA:
		return "No data is available";
	case -15:
		return "Only stale data is available";
	case ST_NOT_WATCHED:
		return "Field is not being watched";
	case ST_NO_PERMISSION:
		return "No permission";
	case ST_GPU_IS_LOST:
		return "GPU is lost";
	case -19:
		return "GPU requires reset";
	case ST_FUNCTION_NOT_FOUND:
		return "Unable to find function";
	case ST_CONNECTION_NOT_VALID:
		return "Host engine connection invalid/disconnected";
	case ST_MAX_LIMIT:
		return "Maximum limit of groups reached";
	case ST_DUPLICATE_KEY:
		return "Duplicate key";
	case ST_INSUFFICIENT_SIZE:
		return "Insufficient buffer size";
	case ST_MODULE_NOT_LOADED:
		return "This request is serviced by a module of DCGM that is not currently loaded";
	case ST_IN_USE:
		return "The requested operation could not be completed because the affected resource is in use";
	case ST_REQUIRES_ROOT:
		return "This operation requires root";
	case ST_FIELD_UNSUPPORTED_BY_API:
		return "The field is not supported by this API";
	case ST_INSTANCE_NOT_FOUND:
		return "The GPU instance was not found";
	case ST_COMPUTE_INSTANCE_NOT_FOUND:
		return "The compute instance was not found";
	case ST_GPUS_DETACHED:
		return "The GPUs are detached";
	case ST_PROFILING_NOT_SUPPORTED:
		return "Profiling is not supported for this group of GPUs or GPU";
	}
	return "Unknown error";
}
