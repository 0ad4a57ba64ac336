//go:build !fault

package im

// CrashPoint marks a place at which a build with the tag fault can be told to die.
// In this build it is nothing.
func CrashPoint(CrashPlace) {}
