package http

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
)

// What an operation's caller must show.
const (
	byToken      = "token"       // an access token
	byServiceKey = "service_key" // the service key
	byNobody     = ""
)

// routes registers every endpoint and returns the OpenAPI document.
func (s *Server) routes(mux *http.ServeMux) ([]byte, error) {
	registry := huma.NewMapRegistry(schemaPrefix, huma.DefaultSchemaNamer)
	registry.RegisterTypeAlias(reflect.TypeFor[huma.ErrorModel](), reflect.TypeFor[Problem]())
	config := huma.Config{
		OpenAPI: &huma.OpenAPI{
			OpenAPI: "3.1.0",
			Tags:    tagsInOrder(),
			Info: &huma.Info{
				Title: "im", Version: orElse(s.config.Version, "dev"),
				Description: "Instant messaging over HTTP. 64-bit integers are strings in JSON; fields at their zero value may be " +
					"left out; unknown fields are ignored. Live delivery is by WebSocket or TCP: ask `GET /v1/gateway` where.",
			},
			Components: &huma.Components{Schemas: registry, SecuritySchemes: map[string]*huma.SecurityScheme{
				byToken:      {Type: "http", Scheme: "bearer", BearerFormat: "JWT", Description: "The access_token of a log-in."},
				byServiceKey: {Type: "http", Scheme: "bearer", Description: "The setting http.service_key."},
			}},
		},
		Formats:       map[string]huma.Format{"application/json": jsonFormat, "json": jsonFormat}, // the second for …+json
		DefaultFormat: "application/json",
		Transformers:  []huma.Transformer{translate},
	}
	config.AllowAdditionalPropertiesByDefault = true
	config.FieldsOptionalByDefault = true
	api := huma.NewAPI(config, adapter{humago.NewAdapter(mux, "")})
	s.userRoutes(api)
	s.sessionRoutes(api)
	s.gatewayRoutes(api)
	s.messageRoutes(api)
	s.alterRoutes(api)
	s.inboxRoutes(api)
	s.conversationRoutes(api)
	s.groupRoutes(api)
	s.memberRoutes(api)
	s.deviceRoutes(api)
	s.viewRoutes(api)
	s.contactRoutes(api)
	s.blockRoutes(api)
	s.accountRoutes(api)
	s.roomRoutes(api)
	s.journalRoutes(api)
	s.passportRoutes(api)
	if s.config.ServiceKey != "" {
		s.serviceRoutes(api)
		s.serviceJournalRoutes(api)
	}
	document, err := json.Marshal(api.OpenAPI())
	if err != nil {
		return nil, fmt.Errorf("write the OpenAPI document: %w", err)
	}
	return document, nil
}

// tagsInOrder are the chapters of the API, as whoever begins needs them.
func tagsInOrder() (tags []*huma.Tag) {
	for _, name := range []string{
		"Users", "Sessions", "Gateway", "Messages", "Inbox", "Conversations", "Contacts", "Groups", "Rooms", "Devices", "Service",
	} {
		tags = append(tags, &huma.Tag{Name: name})
	}
	return tags
}

// operation describes an endpoint: what it is called, where it is and who may.
func operation(id, method, path, tag, by, summary, description string) huma.Operation {
	op := huma.Operation{
		OperationID: id, Method: method, Path: path, Tags: []string{tag}, Summary: summary, Description: description,
		SkipValidateBody: true, SkipValidateParams: true, // handlers judge values, types are enough here
	}
	if by != byNobody {
		op.Security = []map[string][]string{{by: {}}}
	}
	return op
}

// byEither lets an operation's caller show an access token or the service key.
func byEither(op huma.Operation) huma.Operation {
	op.Security = []map[string][]string{{byToken: {}}, {byServiceKey: {}}}
	return op
}

// register adds an endpoint, with the guard of its security unless it brings one. Its errors become problems, and what caused them
// goes into the log.
func register[I, O any](s *Server, api huma.API, op huma.Operation, handler func(context.Context, *I) (*O, error)) {
	op.MaxBodyBytes = s.config.MaxBodyBytes + 1 // huma refuses what reaches it
	op.BodyReadTimeout = s.config.RequestTimeout
	if len(op.Security) > 0 && op.Middlewares == nil {
		guard := s.requireToken
		_, service := op.Security[0][byServiceKey]
		switch {
		case len(op.Security) > 1:
			guard = s.requireEither
		case service:
			guard = s.requireServiceKey
		}
		op.Middlewares = huma.Middlewares{guard}
	}
	huma.Register(api, op, func(ctx context.Context, input *I) (*O, error) {
		output, err := inTurn(ctx, s.crowd, input, handler)
		if err != nil {
			return nil, refuse(ctx, err)
		}
		return output, nil
	})
}

// inTurn has a handler do its work when there is room for it.
func inTurn[I, O any](ctx context.Context, c *crowd, input *I, handler func(context.Context, *I) (*O, error)) (*O, error) {
	if err := c.enter(ctx); err != nil {
		return nil, err
	}
	defer c.leave()
	return handler(ctx, input)
}

// refuse turns an error into what the client sees and notes it for the log.
func refuse(ctx context.Context, err error) *Problem {
	problem := problemOf(err)
	rec := recordOf(ctx)
	rec.code, rec.cause = problem.Code, err
	return problem
}
