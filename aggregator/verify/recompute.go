package verify

import "github.com/wattledger/wattledger/schemas/record"

// Recompute makes the entries of a whole site, and what is known about the quality of its hours.
func Recompute(site Site, nodes []Node, p Period, first bool) ([]record.Entry, []record.DeviceHour, error) {
	var lines []Line
	var quality []record.DeviceHour
	for _, n := range nodes {
		n.IdleLimit = site.IdleLimit
		of, q, err := RecomputeNode(n, p, first)
		if err != nil {
			return nil, nil, err
		}
		lines, quality = append(lines, of...), append(quality, q...)
	}
	entries, more, err := RecomputeSite(site, lines)
	return entries, append(quality, more...), err
}
