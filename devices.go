package im

import "hash/fnv"

// Limits of devices.
const (
	MaxDeviceNameBytes   = 128
	MaxPushProviderBytes = 64
	MaxPushTokenBytes    = 4 << 10
)

// Push is where a sleeping device is woken: a provider such as "apns" and the token that
// it has given the device. The zero value is nowhere.
type Push struct {
	Provider string
	Token    string
}

// DeviceChange is what is to be changed of a device; nil leaves it as it is.
type DeviceChange struct {
	Name *string
	Push *Push
}

// DeviceKey names a device.
type DeviceKey struct {
	UserID   string
	DeviceID string
}

// Grant is a short form of a refresh family, for those who only ask whether it is still the
// same; 0 for none. It is the FNV-1a hash of 64 bits.
func Grant(family string) uint64 {
	if family == "" {
		return 0
	}
	hash := fnv.New64a()
	hash.Write([]byte(family))
	return max(hash.Sum64(), 1)
}
