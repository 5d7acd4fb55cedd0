package agent

import "slices"

// Action is what is to be done at once when an XID is reported.
type Action string

// The actions, coarser than NVIDIA's: what an operator does. NVIDIA's own words stand in brackets.
const (
	Reset      Action = "reset"       // drain the GPU and reset it (RESET_GPU, WORKFLOW_XID_48)
	Reboot     Action = "reboot"      // drain the node and restart it (RESTART_BM, RESTART_VM)
	Fabric     Action = "fabric"      // look at the NVLinks; what is to be done hangs on the detail in the kernel's log (WORKFLOW_NVLINK_ERR, WORKFLOW_NVLINK5_ERR)
	Support    Action = "support"     // look at cables, power and versions, or ask NVIDIA (CHECK_MECHANICALS, UPDATE_SWFW, CHECK_UVM, CONTACT_SUPPORT)
	RestartApp Action = "restart_app" // the job is to be started anew and its owner to look at it; the device is well (RESTART_APP)
	None       Action = "none"        // information only (IGNORE, XID_154)
	Unknown    Action = "unknown"     // the catalogue names no action, or does not have the number
)

// Actions lists all of them.
var Actions = []Action{Reset, Reboot, Fabric, Support, RestartApp, None, Unknown}

// ActionOf puts an XID under the immediate action that NVIDIA's catalogue gives for B100 and GB200, or for the newest part that
// still has the number: docs.nvidia.com/deploy/xid-errors, "Analyzing Xid Errors with the Xid Catalog", as read in November 2026.
//
// 45 (a channel was removed) accompanies another XID or the end of a job; by itself it asks for a restart of the fabric manager, which
// one cannot tell here. 154 says that the action for another XID has changed. Both stand under none: the other one counts.
func ActionOf(xid uint32) Action {
	in := func(list ...uint32) bool { return slices.Contains(list, xid) }
	within := func(from, to uint32) bool { return from <= xid && xid <= to }
	switch {
	case in(46, 48, 62, 64, 95, 109, 110, 119, 120, 136, 140, 143, 155, 156, 158):
		return Reset
	case in(79, 151):
		return Reboot
	case in(74), within(144, 150):
		return Fabric
	case in(54, 78, 142, 159):
		return Support
	case in(8, 11, 13, 25, 31, 32, 39, 40, 41, 60, 80, 94, 139), within(68, 72), within(75, 77), within(82, 86), within(88, 89), within(96, 105), within(126, 135):
		return RestartApp
	case in(14, 37, 38, 43, 44, 45, 63, 66, 67, 92, 93, 121, 137, 141, 152, 153, 154, 157, 160, 161), within(106, 108):
		return None
	}
	return Unknown
}
