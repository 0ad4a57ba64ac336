package im

// Role is what a member of a group may do.
type Role string

// The roles. A direct conversation's members have none.
const (
	RoleOwner  Role = "owner"
	RoleAdmin  Role = "admin"
	RoleMember Role = "member"
)

// Action says what a membership event changes.
type Action string

// The actions of membership events. Requested and Refused concern the owner, the
// admins and who is refused only. Accepted is asked for and becomes Joined.
const (
	ActionCreated   Action = "created"
	ActionJoined    Action = "joined"
	ActionLeft      Action = "left"
	ActionRemoved   Action = "removed"
	ActionRole      Action = "role"
	ActionMuted     Action = "muted"
	ActionOwner     Action = "owner"
	ActionChanged   Action = "changed"
	ActionDissolved Action = "dissolved"
	ActionRequested Action = "requested"
	ActionAccepted  Action = "accepted"
	ActionRefused   Action = "refused"
)

// How one comes into a group.
const (
	JoinInvite  = "invite"  // any member adds others; the default
	JoinRequest = "request" // who asks is let in by the owner or an admin, and these add others
	JoinOpen    = "open"    // who asks is in; any member adds others
	JoinClosed  = "closed"  // the owner and the admins add others
)

// What a new member may read of what was before.
const (
	HistoryJoined = "joined" // nothing; the default
	HistoryAll    = "all"
)

// Limits of groups.
const (
	MaxGroupNameBytes    = 128
	MaxAnnouncementBytes = 4 << 10
	MaxRequestTextBytes  = 512
	MaxGroupRequests     = 100 // that wait for an answer
)
