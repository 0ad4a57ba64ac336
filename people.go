package im

// Limits of what users say of themselves and of others.
const (
	MaxNicknameBytes  = 128
	MaxBioBytes       = 1 << 10
	MaxRemarkBytes    = 128
	MaxDeleteMessages = 200 // deleted for me by one request
)

// Flag is a bool of which the newest setting stands: the seq of the inbox entry that
// tells it, and the value. A later one is greater, so that a store need only keep the
// greatest. The zero value is off.
type Flag int64

// FlagAt is a flag as the entry at an inbox seq sets it.
func FlagAt(seq int64, on bool) Flag {
	if on {
		return Flag(seq<<1 | 1)
	}
	return Flag(seq << 1)
}

// On is the flag's value.
func (f Flag) On() bool { return f&1 == 1 }

// Wish is whether a user wants another one as a contact: the seq of the entry in the
// wishing user's inbox, and the value. Of two the greater one stands. Two users are
// contacts while both wish it.
type Wish int64

const (
	wishOn    = 1
	wishEnded = 3 // by the other one; above the wish itself, below every later one
)

// WishAt is a wish as the entry at a seq of the wishing user's inbox tells it.
func WishAt(seq int64, on bool) Wish {
	if on {
		return Wish(seq<<2 | wishOn)
	}
	return Wish(seq << 2)
}

// On reports whether it is a wish that stands.
func (w Wish) On() bool { return w&3 == wishOn }

// Seq is that of the entry.
func (w Wish) Seq() int64 { return int64(w >> 2) }

// Ended is the wish after the other one has refused it, or has ended being a contact.
func (w Wish) Ended() Wish { return w | wishEnded }

// RelationKey names what one user has to do with another one.
type RelationKey struct {
	UserID string // whose row it is
	PeerID string
}

// Relation is a user's own view of another one. Each group of its columns is written
// only where what stands first in it is greater than what is stored.
type Relation struct {
	RelationKey
	Mine Wish   // the user's own wish, with
	Ends int64  // the peer's wish that it ended, where it is off; 0 = none
	Text string // and what was said with it
	AtMs int64

	Told Wish // the peer has been told of Mine up to here

	Theirs    Wish // the peer's wish as it was told, with
	TheirText string
	TheirAtMs int64
	Blocked   Flag // the user takes nothing from the peer
	RemarkSeq int64
	Remark    string // what the user calls the peer
}

// Contact reports whether the two are contacts.
func (r *Relation) Contact() bool { return r.Mine.On() && r.Theirs.On() }

// Deletion is a message that a user has deleted for themselves.
type Deletion struct {
	UserID string
	EventRef
}

// ProfileUpdate sets what others see of a user, each part only where the seq of the
// entry that tells it is above that of the part's last setting.
type ProfileUpdate struct {
	UserID       string
	Seq          int64
	Nickname     *string // nil: stays as it is
	AvatarFileID *string
	Bio          *string
}

// OwnState is what a commit's entries make of what is their users' alone. It may be
// written twice, or late, and changes nothing then.
type OwnState struct {
	Views     []ReadMark // of their columns those behind DeliveredUpto only
	Deleted   []Deletion
	Relations []Relation
	Profiles  []ProfileUpdate
}

// Empty reports whether there is nothing in it.
func (o *OwnState) Empty() bool {
	return len(o.Views)+len(o.Deleted)+len(o.Relations)+len(o.Profiles) == 0
}

// AccountChange changes an account; what is nil stays as it is.
type AccountChange struct {
	PasswordHash *string
	Disabled     *bool
	// Delete is for good: the name stays taken, password and profile are gone.
	Delete bool
}

// ContactAction says what has changed between two users.
type ContactAction string

// The actions of contact entries.
const (
	ContactRequested ContactAction = "requested"
	ContactAdded     ContactAction = "added"
	ContactRefused   ContactAction = "refused"
	ContactRemoved   ContactAction = "removed"
	ContactBlocked   ContactAction = "blocked"
	ContactUnblocked ContactAction = "unblocked"
	ContactChanged   ContactAction = "changed"
)
