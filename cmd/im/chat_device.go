package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/im-transfer/im"
	"github.com/im-transfer/im/client"
	imv1 "github.com/im-transfer/im/proto/im/v1"
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
	case verbJournal:
		lines, _, err := api.Connections(ctx, client.ConnectionsQuery{})
		for i := len(lines) - 1; i >= 0; i-- {
			t.print(t.view.connection(&lines[i]))
		}
		return err
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

// connection shows a line of the journal.
func (v *chatView) connection(c *client.Connection) string {
	line := fmt.Sprintf("%s %s (%s) by %s from %s", v.clock(c.OnlineAtMs), printable(c.DeviceID), printable(c.Platform), c.Transport, printable(c.Remote))
	if c.Client != "" {
		line += " with " + printable(c.Client)
	}
	switch {
	case c.Reason == "":
		return line + ", online"
	case c.OfflineAtMs == 0:
		return line + ", " + printable(c.Reason)
	}
	return line + fmt.Sprintf(", until %s: %s", v.clock(c.OfflineAtMs), printable(c.Reason))
}

// watch has the server tell who of some people comes and goes.
func (t *talk) watch(ctx context.Context, who []string) error {
	ids, err := t.findAll(ctx, who)
	if err != nil {
		return err
	}
	presences, err := t.client.Watch(ctx, ids...)
	for _, p := range presences {
		t.print("-- " + t.view.presence(p))
	}
	return err
}

// presence says how somebody is.
func (v *chatView) presence(p *imv1.Presence) string {
	who := v.person(p.GetUserId())
	switch {
	case p.GetOnline():
		return fmt.Sprintf("%s is online (%s)", who, printable(strings.Join(p.GetPlatforms(), ", ")))
	case p.GetLastSeenMs() > 0:
		return fmt.Sprintf("%s is offline, seen last at %s", who, v.clock(p.GetLastSeenMs()))
	}
	return who + " is offline"
}

// signal shows what is not stored; empty for what the user need not see.
func (v *chatView) signal(signal *imv1.Signal) string {
	if p := client.PresenceOf(signal); p != nil {
		return v.presence(p)
	}
	from := v.person(signal.GetFrom().GetUserId())
	if mark, ok := client.ReadOf(signal); ok {
		return fmt.Sprintf("%s has read %s up to %d", from, printable(v.group(signal.GetConversationId())), mark.Upto)
	}
	if signal.GetType() == "typing" {
		return from + " is typing"
	}
	return ""
}
