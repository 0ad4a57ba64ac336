package im

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
