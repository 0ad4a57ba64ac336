package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/im-transfer/im"
	"github.com/im-transfer/im/client"
)

// onDevices does what concerns one's own devices.
func (t *talk) onDevices(ctx context.Context, command chatCommand) error {
	api := t.client.API()
	switch command.verb {
	case verbName:
		return api.NameDevice(ctx, t.who.device, strings.Join(command.words, " "))
	case verbSignOut:
		if command.words[0] == "others" {
			return api.SignOutOthers(ctx)
		}
		return api.SignOutDevice(ctx, command.words[0])
	}
	for cursor, more := "", true; more; more = cursor != "" {
		devices, next, err := api.Devices(ctx, cursor, im.MaxPage)
		if err != nil {
			return err
		}
		for i := range devices {
			t.print(t.view.deviceLine(&devices[i]))
		}
		cursor = next
	}
	return nil
}

// deviceLine shows a line of the list of devices.
func (v *chatView) deviceLine(d *client.Device) string {
	line := printable(d.DeviceID) + " (" + printable(d.Platform) + ")"
	if d.Name != "" {
		line += " " + printable(d.Name)
	}
	if d.Current {
		line += ", this one"
	}
	return line + fmt.Sprintf(", has %d of the inbox", d.Cursor)
}
