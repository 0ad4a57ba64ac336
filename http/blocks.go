package http

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
)

// BlockList is a page of those whom a user has blocked.
type BlockList struct {
	Blocks []UserProfile `json:"blocks" nullable:"false"`
	Next   string        `json:"next,omitempty" doc:"Where the next page begins; left out at the end."`
}

func (s *Server) blockRoutes(api huma.API) {
	register(s, api, operation("list-blocks", http.MethodGet, "/v1/blocks", "Contacts", byToken, "List whom one has blocked",
		"A change is in it with its entry in one's inbox."), s.listBlocks)
	register(s, api, operation("block-user", http.MethodPut, "/v1/blocks/{user_id}", "Contacts", byToken, "Block a user",
		"What they send behind it in the direct conversation is forbidden, what they sent before stays, and they are told nothing. "+
			"Being a contact stays as it is."), s.blockUser)
	register(s, api, operation("unblock-user", http.MethodDelete, "/v1/blocks/{user_id}", "Contacts", byToken, "Unblock a user", ""), s.unblockUser)
}

func (s *Server) listBlocks(ctx context.Context, in *PageQuery) (*answer[BlockList], error) {
	blocked, next, err := s.walkRelations(ctx, in, func(r *im.Relation) bool { return r.Blocked.On() })
	if err != nil {
		return nil, err
	}
	profiles, err := s.profilesOf(ctx, blocked)
	if err != nil {
		return nil, err
	}
	list := BlockList{Blocks: []UserProfile{}, Next: next}
	for _, r := range blocked {
		list.Blocks = append(list.Blocks, profiles[r.PeerID])
	}
	return reply(list), nil
}

func (s *Server) blockUser(ctx context.Context, in *changePeer) (*nothing, error) {
	if _, err := s.userByID(ctx, in.UserID); err != nil {
		return nil, err
	}
	return nil, s.block(ctx, in, true)
}

// unblockUser asks for no user: also one who is gone may have been blocked.
func (s *Server) unblockUser(ctx context.Context, in *changePeer) (*nothing, error) {
	return nil, s.block(ctx, in, false)
}

// block changes a block by the pipeline, where it has its place among the messages.
func (s *Server) block(ctx context.Context, in *changePeer, blocked bool) error {
	if in.IdempotencyKey != "" && !im.ValidClientID(in.IdempotencyKey) {
		return invalidKey()
	}
	encoded, err := (&imv1.Block{ClientId: in.IdempotencyKey, UserId: in.UserID, Blocked: blocked}).MarshalVT()
	if err != nil {
		return invalid("the request holds text that is not UTF-8")
	}
	_, err = s.publish(ctx, &imv1.Publish{What: &imv1.Publish_Block{Block: encoded}, StampClientId: true, B3: s.messageTrace(ctx, "")})
	return err
}
