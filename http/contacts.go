package http

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
)

// PeerPath names another user.
type PeerPath struct {
	UserID string `path:"user_id" doc:"A user_id."`
}

// ContactList is a page of a user's contacts.
type ContactList struct {
	Contacts []ContactView `json:"contacts" nullable:"false"`
	Next     string        `json:"next,omitempty" doc:"Where the next page begins; left out at the end."`
}

// ContactView is a contact as their contact sees them.
type ContactView struct {
	UserProfile
	Remark string `json:"remark,omitempty" doc:"What one calls them; nobody else sees it."`
}

// ContactRequestList is a page of requests that have no answer.
type ContactRequestList struct {
	Requests []ContactRequestView `json:"requests" nullable:"false"`
	Next     string               `json:"next,omitempty" doc:"Where the next page begins; left out at the end."`
}

// ContactRequestView is a user's wish to be a contact.
type ContactRequestView struct {
	UserProfile
	Direction string    `json:"direction" enum:"in,out" doc:"in: they have asked; out: one has asked them."`
	Text      string    `json:"text,omitempty"`
	AtMs      int64Text `json:"at_ms"`
}

type requestContact struct {
	ChangeKey
	Body struct {
		UserID string `json:"user_id"`
		Text   string `json:"text" doc:"At most 512 bytes."`
	}
}

type answerContact struct {
	PeerPath
	ChangeKey
	Body struct {
		Accept *bool `json:"accept"`
	}
}

type changeContactRequest struct {
	PeerPath
	ChangeKey
	Body struct {
		Remark *string `json:"remark" doc:"At most 128 bytes; empty = none."`
	}
}

type changePeer struct {
	PeerPath
	ChangeKey
}

func (s *Server) contactRoutes(api huma.API) {
	register(s, api, operation("list-contacts", http.MethodGet, "/v1/contacts", "Contacts", byToken, "List one's contacts", ""), s.listContacts)
	register(s, api, operation("list-contact-requests", http.MethodGet, "/v1/contacts/requests", "Contacts", byToken, "List requests without an answer",
		"One's own and those of others."), s.listContactRequests)
	ask := operation("request-contact", http.MethodPost, "/v1/contacts/requests", "Contacts", byToken, "Ask to be a contact",
		"Who has asked oneself is a contact then. Who has blocked one is not told.")
	ask.DefaultStatus = http.StatusNoContent
	register(s, api, ask, s.requestContact)
	register(s, api, operation("answer-contact-request", http.MethodPut, "/v1/contacts/requests/{user_id}", "Contacts", byToken, "Agree, or refuse",
		"Who has asked is told."), s.answerContact)
	register(s, api, operation("change-contact", http.MethodPatch, "/v1/contacts/{user_id}", "Contacts", byToken, "Give a contact a remark", ""), s.remarkContact)
	register(s, api, operation("delete-contact", http.MethodDelete, "/v1/contacts/{user_id}", "Contacts", byToken, "End being a contact",
		"For both; the other one is told. A request of one's own is taken back."), s.removeContact)
}

// walkRelations collects what keep returns of a user's relations, until there is a page
// of it, and returns the cursor of the next one.
func (s *Server) walkRelations(ctx context.Context, in *PageQuery, keep func(*im.Relation) bool) ([]im.Relation, string, error) {
	at, limit, err := in.behind()
	if err != nil {
		return nil, "", err
	}
	var kept []im.Relation
	for {
		page, err := s.Relations.RelationsOf(ctx, callerOf(ctx).UserID, at, im.MaxPage)
		if err != nil {
			return nil, "", wrap("list relations", err)
		}
		for i := range page {
			if !keep(&page[i]) {
				continue
			}
			if len(kept) == limit {
				return kept, keyCursor(kept[limit-1].PeerID), nil
			}
			kept = append(kept, page[i])
		}
		if len(page) < im.MaxPage {
			return kept, "", nil
		}
		at = page[len(page)-1].PeerID
	}
}

// profilesOf returns the profiles of relations' peers, by id.
func (s *Server) profilesOf(ctx context.Context, relations []im.Relation) (map[string]UserProfile, error) {
	ids := make([]string, len(relations))
	for i := range relations {
		ids[i] = relations[i].PeerID
	}
	users, err := s.Accounts.UsersByID(ctx, ids)
	profiles := make(map[string]UserProfile, len(users))
	for _, id := range ids {
		profiles[id] = UserProfile{UserID: id}
	}
	for i := range users {
		profiles[users[i].ID] = profileOf(&users[i])
	}
	return profiles, wrap("look up users", err)
}

func (s *Server) listContacts(ctx context.Context, in *PageQuery) (*answer[ContactList], error) {
	contacts, next, err := s.walkRelations(ctx, in, (*im.Relation).Contact)
	if err != nil {
		return nil, err
	}
	profiles, err := s.profilesOf(ctx, contacts)
	if err != nil {
		return nil, err
	}
	list := ContactList{Contacts: []ContactView{}, Next: next}
	for _, r := range contacts {
		list.Contacts = append(list.Contacts, ContactView{profiles[r.PeerID], r.Remark})
	}
	return reply(list), nil
}

func (s *Server) listContactRequests(ctx context.Context, in *PageQuery) (*answer[ContactRequestList], error) {
	open, next, err := s.walkRelations(ctx, in, func(r *im.Relation) bool {
		return r.Mine.On() && !r.Theirs.On() || r.Theirs.On() && !r.Mine.On() && !r.Blocked.On()
	})
	if err != nil {
		return nil, err
	}
	profiles, err := s.profilesOf(ctx, open)
	if err != nil {
		return nil, err
	}
	list := ContactRequestList{Requests: []ContactRequestView{}, Next: next}
	for _, r := range open {
		view := ContactRequestView{profiles[r.PeerID], "out", r.Text, int64Text(r.AtMs)}
		if r.Theirs.On() {
			view.Direction, view.Text, view.AtMs = "in", r.TheirText, int64Text(r.TheirAtMs)
		}
		list.Requests = append(list.Requests, view)
	}
	return reply(list), nil
}

func (s *Server) changeContact(ctx context.Context, key string, change *imv1.ContactChange) error {
	return s.changeOwn(ctx, key, &imv1.OwnChange{What: &imv1.OwnChange_Contact{Contact: change}})
}

func (s *Server) requestContact(ctx context.Context, in *requestContact) (*nothing, error) {
	if in.Body.UserID == "" {
		return nil, invalid("user_id must be given")
	}
	if err := s.livingUser(ctx, in.Body.UserID); err != nil {
		return nil, err
	}
	return nil, s.changeContact(ctx, in.IdempotencyKey, &imv1.ContactChange{UserId: in.Body.UserID, Action: "request", Text: in.Body.Text})
}

// livingUser refuses where there is no such user, or no longer.
func (s *Server) livingUser(ctx context.Context, userID string) error {
	user, err := s.userByID(ctx, userID)
	if err == nil && user.Disabled {
		return im.Errorf(im.NotFound, "there is no such user")
	}
	return err
}

func (s *Server) answerContact(ctx context.Context, in *answerContact) (*nothing, error) {
	action := "refuse"
	if in.Body.Accept == nil {
		return nil, acceptMissing()
	}
	if *in.Body.Accept {
		action = "accept"
	}
	return nil, s.changeContact(ctx, in.IdempotencyKey, &imv1.ContactChange{UserId: in.UserID, Action: action})
}

// acceptMissing refuses an answer that says neither: a request that is refused is gone.
func acceptMissing() error { return invalid("accept must be given") }

func (s *Server) remarkContact(ctx context.Context, in *changeContactRequest) (*nothing, error) {
	if in.Body.Remark == nil {
		return nil, invalid("remark must be given")
	}
	if !printed(*in.Body.Remark, im.MaxRemarkBytes) {
		return nil, invalid("a remark has at most %d bytes and no control characters", im.MaxRemarkBytes)
	}
	return nil, s.changeContact(ctx, in.IdempotencyKey, &imv1.ContactChange{UserId: in.UserID, Action: "remark", Remark: *in.Body.Remark})
}

func (s *Server) removeContact(ctx context.Context, in *changePeer) (*nothing, error) {
	return nil, s.changeContact(ctx, in.IdempotencyKey, &imv1.ContactChange{UserId: in.UserID, Action: "remove"})
}
