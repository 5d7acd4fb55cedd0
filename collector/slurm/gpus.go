package slurm

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// maxGPUs bounds a list: a node has 16 GPUs at most, of seven instances each.
const maxGPUs = 1024

// ParseGPUs reads a list as SLURM_JOB_GPUS and CUDA_VISIBLE_DEVICES have it: numbers of device files, ranges of them, and
// UUIDs of GPUs and MIG instances ("0-3,5", "GPU-…", "MIG-…"). Each comes once, in the order of the list.
func ParseGPUs(list string) ([]string, error) {
	var out []string
	add := func(s string) error {
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
		if len(out) > maxGPUs {
			return fmt.Errorf("the list names more than %d GPUs", maxGPUs)
		}
		return nil
	}
	for item := range strings.SplitSeq(list, ",") {
		item = strings.TrimSpace(item)
		if item == "" {
			continue
		}
		if isUUID(item) {
			if err := add(item); err != nil {
				return nil, err
			}
			continue
		}
		low, high, ranged := strings.Cut(item, "-")
		from, ok := number(low)
		to := from
		if ranged {
			var ok2 bool
			to, ok2 = number(high)
			ok = ok && ok2 && to >= from && to-from < maxGPUs
		}
		if !ok {
			return nil, fmt.Errorf("%q is neither the number of a device file, nor a range of them, nor a UUID", item)
		}
		for n := from; n <= to; n++ {
			if err := add(strconv.Itoa(n)); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}

// isUUID says whether a text is a driver's name for a GPU or a MIG instance, old names of instances included.
func isUUID(s string) bool {
	if !strings.HasPrefix(s, "GPU-") && !strings.HasPrefix(s, "MIG-") {
		return false
	}
	return len(s) > len("GPU-") && len(s) <= 80 && strings.Trim(s[4:], "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-/") == ""
}

func number(s string) (int, bool) {
	if len(s) == 0 || len(s) > 4 || strings.Trim(s, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.Atoi(s)
	return n, err == nil
}
