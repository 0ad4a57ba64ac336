package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/im-transfer/im"
)

// chatHelp is what /help prints.
const chatHelp = `/to NAME                   talk to someone, by user name or id
/group NAME USER...        make a group of yourself and others, and talk to it
/in NAME                   talk to a group that you are in
/members                   who is in the group
/add USER...               bring others into the group
/remove USER               put someone out of the group
/join ROOM                 go into a room and talk to it
/leave                     leave the group, or the room
/history [N]               the last N messages (20)
/passport [N]              what became of the Nth newest message (1)
/list                      your conversations, newest first
/read                      mark the conversation as read
/contacts                  your contacts, and who has asked whom
/ask USER [TEXT]           ask someone to be a contact
/accept USER, /refuse USER answer who has asked you
/forget USER               end being contacts, or take your request back
/remark USER [NAME]        what you call a contact
/block USER, /unblock USER take no messages of someone, or take them again
/mute, /unmute             let the conversation wake no device of yours, or let it
/reply N TEXT              answer the Nth last message
/edit TEXT                 say your last message otherwise
/recall [N]                take the Nth last message of yours (1) back
/react EMOJI [N]           react to the Nth last message (1)
/unreact EMOJI [N]         take that reaction back
/delete [N]                take the last N messages (1) out of your own view
/clear                     take all of them out of your own view
/nick NAME                 your nickname
/password OLD NEW          change your password; other devices are signed out
/devices                   your devices that are signed in
/name NAME                 give this device a name
/signout DEVICE            sign a device of yours out; "others": all but this one
/connections               when your devices were online, and from where
/watch [USER...]           be told when they come and go; nobody: no more
/register NAME PASSWORD    make an account and log in to it
/login NAME PASSWORD       log in as someone else
/quit                      leave; what comes meanwhile is shown next time
/help                      this list
anything else is said to whom you talk to; begin with // to say something that begins with /`

// chatVerb is what a line asks for.
type chatVerb string

// The verbs; say is a line without a command.
const (
	verbNothing  chatVerb = ""
	verbSay      chatVerb = "say"
	verbTo       chatVerb = "to"
	verbGroup    chatVerb = "group"
	verbIn       chatVerb = "in"
	verbJoin     chatVerb = "join"
	verbMembers  chatVerb = "members"
	verbAdd      chatVerb = "add"
	verbRemove   chatVerb = "remove"
	verbLeave    chatVerb = "leave"
	verbHistory  chatVerb = "history"
	verbPassport chatVerb = "passport"
	verbList     chatVerb = "list"
	verbReply    chatVerb = "reply"
	verbEdit     chatVerb = "edit"
	verbRecall   chatVerb = "recall"
	verbReact    chatVerb = "react"
	verbUnreact  chatVerb = "unreact"
	verbRead     chatVerb = "read"
	verbContacts chatVerb = "contacts"
	verbAsk      chatVerb = "ask"
	verbAccept   chatVerb = "accept"
	verbRefuse   chatVerb = "refuse"
	verbForget   chatVerb = "forget"
	verbRemark   chatVerb = "remark"
	verbBlock    chatVerb = "block"
	verbUnblock  chatVerb = "unblock"
	verbMute     chatVerb = "mute"
	verbUnmute   chatVerb = "unmute"
	verbDelete   chatVerb = "delete"
	verbClear    chatVerb = "clear"
	verbNick     chatVerb = "nick"
	verbPassword chatVerb = "password"
	verbDevices  chatVerb = "devices"
	verbName     chatVerb = "name"
	verbSignOut  chatVerb = "signout"
	verbJournal  chatVerb = "connections"
	verbWatch    chatVerb = "watch"
	verbRegister chatVerb = "register"
	verbLogin    chatVerb = "login"
	verbQuit     chatVerb = "quit"
	verbHelp     chatVerb = "help"
)

// chatArguments says how many arguments a command takes.
var chatArguments = map[chatVerb]struct {
	least, most int
	usage       string
}{
	verbTo:       {1, 1, "/to NAME"},
	verbGroup:    {2, 500, "/group NAME USER..."},
	verbIn:       {1, 1, "/in NAME"},
	verbJoin:     {1, 1, "/join ROOM"},
	verbMembers:  {0, 0, "/members"},
	verbAdd:      {1, 499, "/add USER..."},
	verbRemove:   {1, 1, "/remove USER"},
	verbLeave:    {0, 0, "/leave"},
	verbHistory:  {0, 1, "/history [N]"},
	verbPassport: {0, 1, "/passport [N]"},
	verbList:     {0, 0, "/list"},
	verbReply:    {2, 10000, "/reply N TEXT"},
	verbEdit:     {1, 10000, "/edit TEXT"},
	verbRecall:   {0, 1, "/recall [N]"},
	verbReact:    {1, 2, "/react EMOJI [N]"},
	verbUnreact:  {1, 2, "/unreact EMOJI [N]"},
	verbRead:     {0, 0, "/read"},
	verbContacts: {0, 0, "/contacts"},
	verbAsk:      {1, 100, "/ask USER [TEXT]"},
	verbAccept:   {1, 1, "/accept USER"},
	verbRefuse:   {1, 1, "/refuse USER"},
	verbForget:   {1, 1, "/forget USER"},
	verbRemark:   {1, 20, "/remark USER [NAME]"},
	verbBlock:    {1, 1, "/block USER"},
	verbUnblock:  {1, 1, "/unblock USER"},
	verbMute:     {0, 0, "/mute"},
	verbUnmute:   {0, 0, "/unmute"},
	verbDelete:   {0, 1, "/delete [N]"},
	verbClear:    {0, 0, "/clear"},
	verbNick:     {1, 20, "/nick NAME"},
	verbPassword: {2, 2, "/password OLD NEW"},
	verbDevices:  {0, 0, "/devices"},
	verbName:     {1, 20, "/name NAME"},
	verbSignOut:  {1, 1, "/signout DEVICE"},
	verbJournal:  {0, 0, "/connections"},
	verbWatch:    {0, im.MaxWatched, "/watch [USER...]"},
	verbRegister: {2, 2, "/register NAME PASSWORD"},
	verbLogin:    {2, 2, "/login NAME PASSWORD"},
	verbQuit:     {0, 0, "/quit"},
	verbHelp:     {0, 0, "/help"},
}

// chatCommand is a line of input, understood.
type chatCommand struct {
	verb  chatVerb
	text  string   // of say
	words []string // arguments of the others
	count int      // of history and delete
}

// parseChat reads a line. Errors are sentences for the user.
func parseChat(line string) (chatCommand, error) {
	line = strings.TrimRight(line, "\r\n")
	switch {
	case strings.TrimSpace(line) == "":
		return chatCommand{}, nil
	case strings.HasPrefix(line, "//"):
		return chatCommand{verb: verbSay, text: line[1:]}, nil
	case !strings.HasPrefix(line, "/"):
		return chatCommand{verb: verbSay, text: line}, nil
	}
	words := strings.Fields(line)
	command := chatCommand{verb: chatVerb(strings.ToLower(words[0][1:])), words: words[1:]}
	takes, known := chatArguments[command.verb]
	if !known {
		return chatCommand{}, fmt.Errorf("there is no command %s; /help lists them", words[0])
	}
	if n := len(command.words); n < takes.least || n > takes.most {
		return chatCommand{}, fmt.Errorf("say it like this: %s", takes.usage)
	}
	return command.withCount()
}

func (c chatCommand) withCount() (chatCommand, error) {
	switch c.verb {
	case verbHistory:
		c.count = 20
	case verbDelete, verbPassport:
		c.count = 1
	default:
		return c, nil
	}
	if len(c.words) == 1 {
		count, err := strconv.Atoi(c.words[0])
		if err != nil || count < 1 || count > 200 {
			return chatCommand{}, fmt.Errorf("a number from 1 to 200, please: %s", chatArguments[c.verb].usage)
		}
		c.count = count
	}
	return c, nil
}
