package transfer

import (
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
)

var (
	errNoMessage    = im.Errorf(im.NotFound, "no such message")
	errRecalled     = im.Errorf(im.Forbidden, "the message was recalled")
	errTooManyKinds = im.Errorf(im.TooLarge, "a message has at most %d kinds of reactions", im.MaxReactionKinds)
	errTooMany      = im.Errorf(im.TooLarge, "a message has at most %d reactions", im.MaxReactions)
)

// alteration is a change of a message, being judged by what the message is now.
type alteration struct {
	command *imv1.Command
	by      im.Member
	message *im.Event
	state   im.MessageState
	within  time.Duration // in which a sender may recall; 0 = always
}

// judge returns the body of the event that a change becomes. Times are those of its
// acceptance, so that it is judged the same whenever that is.
func (a *alteration) judge() ([]byte, error) {
	switch im.Kind(a.command.Kind) {
	case im.KindRecall:
		return a.recall()
	case im.KindEdit:
		return a.edit()
	case im.KindReaction:
		return a.react()
	}
	return nil, im.Errorf(im.Invalid, "unknown change of a message")
}

// recall is for the sender within a time, and for the owner and the admins of a group.
func (a *alteration) recall() ([]byte, error) {
	own := a.message.SenderID == a.command.UserId
	switch age := time.Duration(a.command.AcceptedAtMs-a.message.AtMs) * time.Millisecond; {
	case !own && rank(a.by) == 0:
		return nil, im.Errorf(im.Forbidden, "a message is recalled by its sender, or by the owner or an admin of the group")
	case a.state.Recalled:
		return nil, errNothingToDo
	case rank(a.by) == 0 && a.within > 0 && age > a.within:
		return nil, im.Errorf(im.Forbidden, "a message can be recalled for %v", a.within)
	}
	body := appendInt(nil, recallMessageID, a.message.ID)
	return appendString(body, recallBy, a.command.UserId), nil
}

// edit is for the sender. What is in the body already is its content.
func (a *alteration) edit() ([]byte, error) {
	version := a.state.Version
	switch {
	case a.message.SenderID != a.command.UserId:
		return nil, im.Errorf(im.Forbidden, "a message is edited by its sender")
	case a.state.Recalled:
		return nil, errRecalled
	case a.command.IfVersion != 0 && a.command.IfVersion != version:
		return nil, im.Errorf(im.Conflict, "the message has version %d", version)
	}
	body := appendInt(slices.Clone(a.command.Body), editMessageID, a.message.ID)
	body = appendInt(body, editVersion, int64(version)+1)
	return appendString(body, editBy, a.command.UserId), nil
}

// react gives or takes one reaction.
func (a *alteration) react() ([]byte, error) {
	if a.state.Recalled {
		return nil, errRecalled
	}
	var wanted imv1.Reaction
	var reactions imv1.MessageReactions
	if wanted.UnmarshalVT(a.command.Body) != nil || reactions.UnmarshalVT(a.state.Reactions) != nil {
		return nil, im.Errorf(im.Invalid, "the reaction can not be decoded")
	}
	kind := kindOf(&reactions, wanted.Emoji)
	has := slices.Contains(kind.GetUserIds(), a.command.UserId)
	switch {
	case has != wanted.Removed:
		return nil, errNothingToDo
	case wanted.Removed:
	case kind == nil && len(reactions.Kinds) >= im.MaxReactionKinds:
		return nil, errTooManyKinds
	case allOf(&reactions) >= im.MaxReactions:
		return nil, errTooMany
	}
	body := appendInt(slices.Clone(a.command.Body), reactionMessageID, a.message.ID)
	return appendString(body, reactionUserID, a.command.UserId), nil
}

func kindOf(reactions *imv1.MessageReactions, emoji string) *imv1.MessageReaction {
	at := slices.IndexFunc(reactions.Kinds, func(k *imv1.MessageReaction) bool { return k.Emoji == emoji })
	if at < 0 {
		return nil
	}
	return reactions.Kinds[at]
}

func allOf(reactions *imv1.MessageReactions) (n int) {
	for _, kind := range reactions.Kinds {
		n += len(kind.UserIds)
	}
	return n
}

// altered is what an event makes of the state of its message. Whoever works it out from
// the same events gets the same.
func altered(message *im.Event, state im.MessageState, e *im.Event) (im.MessageState, error) {
	state.Seq = e.Seq
	switch e.Kind {
	case im.KindRecall:
		state.Recalled, state.Uncounted, state.Body, state.Reactions = true, message.Counted, nil, nil
		return state, nil
	case im.KindEdit:
		return edited(message, state, e)
	case im.KindReaction:
		return reacted(state, e)
	}
	return state, fmt.Errorf("event %d of %s changes no message: %s", e.Seq, e.ConversationID, e.Kind)
}

// edited puts another content beside the attributes of the message.
func edited(message *im.Event, state im.MessageState, e *im.Event) (im.MessageState, error) {
	var said imv1.Edit
	if err := said.UnmarshalVT(e.Body); err != nil {
		return state, fmt.Errorf("decode edit %d of %s: %w", e.Seq, e.ConversationID, err)
	}
	content, _ := fieldOf(e.Body, editContent)
	body := protowire.AppendTag(nil, messageContent, protowire.BytesType)
	body = protowire.AppendBytes(body, content)
	_, rest := fieldOf(message.Body, messageContent)
	state.Body, state.Version, state.EditedAtMs = append(body, rest...), said.Version, e.AtMs
	return state, nil
}

func reacted(state im.MessageState, e *im.Event) (im.MessageState, error) {
	var said imv1.Reaction
	if err := said.UnmarshalVT(e.Body); err != nil {
		return state, fmt.Errorf("decode reaction %d of %s: %w", e.Seq, e.ConversationID, err)
	}
	var reactions imv1.MessageReactions
	if err := reactions.UnmarshalVT(state.Reactions); err != nil {
		return state, fmt.Errorf("decode the reactions to %d: %w", state.MessageID, err)
	}
	kind := kindOf(&reactions, said.Emoji)
	switch {
	case said.Removed && kind != nil:
		kind.UserIds = slices.DeleteFunc(kind.UserIds, func(id string) bool { return id == said.UserId })
		reactions.Kinds = slices.DeleteFunc(reactions.Kinds, func(k *imv1.MessageReaction) bool { return len(k.UserIds) == 0 })
	case said.Removed:
	case kind == nil:
		reactions.Kinds = append(reactions.Kinds, &imv1.MessageReaction{Emoji: said.Emoji, UserIds: []string{said.UserId}})
	case !slices.Contains(kind.UserIds, said.UserId):
		kind.UserIds = append(kind.UserIds, said.UserId)
	}
	encoded, err := reactions.MarshalVT()
	if len(encoded) == 0 {
		encoded = nil
	}
	state.Reactions = encoded
	return state, err
}

// fieldOf splits an encoded message into what a field of bytes holds and all the rest.
func fieldOf(encoded []byte, field protowire.Number) (value, rest []byte) {
	for len(encoded) > 0 {
		number, kind, n := protowire.ConsumeTag(encoded)
		if n < 0 {
			return value, rest
		}
		size := protowire.ConsumeFieldValue(number, kind, encoded[n:])
		if size < 0 {
			return value, rest
		}
		if number == field && kind == protowire.BytesType {
			value, _ = protowire.ConsumeBytes(encoded[n:])
		} else {
			rest = append(rest, encoded[:n+size]...)
		}
		encoded = encoded[n+size:]
	}
	return value, rest
}
