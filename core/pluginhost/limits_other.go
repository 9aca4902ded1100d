//go:build !linux

package pluginhost

import "errors"

func (l Limits) apply(int) error {
	if l.OpenFiles > 0 || l.Memory > 0 {
		return errors.New("on this system plugins are limited by GOMEMLIMIT alone")
	}
	return nil
}

func residentBytes(int) int64 { return 0 }
func cpuSeconds(int) float64  { return 0 }
func oomKills() uint64        { return 0 }
