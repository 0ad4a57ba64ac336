// Package content judges what messages say, by itself: for accept, and for who keeps a
// content that accept is to be given later.
package content

import (
	"net/url"
	"slices"
	"unicode/utf8"

	"google.golang.org/protobuf/types/known/structpb"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
)

// Validate judges a message's content and attributes by themselves: an im.Invalid or
// im.TooLarge says what is wrong.
func Validate(content *imv1.Content, attributes map[string]string) error {
	if content == nil || !slices.Contains(im.ContentTypes, content.Type) {
		return im.Errorf(im.Invalid, "content.type must be one of %v", im.ContentTypes)
	}
	if size := content.SizeVT(); size > im.MaxContentBytes {
		return im.Errorf(im.TooLarge, "content is %d bytes, at most %d", size, im.MaxContentBytes)
	}
	if !utf8.ValidString(content.Text) {
		return im.Errorf(im.Invalid, "content.text must be UTF-8")
	}
	if content.FileId != "" && !im.ValidID(content.FileId) {
		return im.Errorf(im.Invalid, "content.file_id must be at most %d bytes", im.MaxIDBytes)
	}
	if err := validateKind(content); err != nil {
		return err
	}
	if err := validateReferences(content); err != nil {
		return err
	}
	return validateAttributes(attributes)
}

// validateKind judges whether a content holds what its type is about.
func validateKind(content *imv1.Content) error {
	switch content.Type {
	case "text", "markdown":
		if content.Text == "" {
			return im.Errorf(im.Invalid, "a %s is not empty", content.Type)
		}
	case "image", "audio", "video", "file":
		if content.FileId == "" && !isURL(urlIn(content.Data)) {
			return im.Errorf(im.Invalid, "content of type %s needs a file_id, or an http(s) address as data.url", content.Type)
		}
	case "link":
		if !isURL(urlIn(content.Data)) && !isURL(content.Text) {
			return im.Errorf(im.Invalid, "a link needs an http(s) address as data.url, or as its text")
		}
	case "card":
		if len(content.Data.GetFields()) == 0 {
			return im.Errorf(im.Invalid, "a card needs data")
		}
	case "custom":
		if content.Data == nil && content.Text == "" && content.FileId == "" {
			return im.Errorf(im.Invalid, "a custom content is not empty")
		}
	}
	return nil
}

func urlIn(data *structpb.Struct) string { return data.GetFields()["url"].GetStringValue() }

// isURL reports whether a text is an absolute http or https address.
func isURL(s string) bool {
	u, err := url.Parse(s)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != ""
}

// validateReferences judges the ids that a content names; which of them there are, the
// sequencer knows.
func validateReferences(content *imv1.Content) error {
	if len(content.Mentions) > im.MaxMentions {
		return im.Errorf(im.Invalid, "at most %d mentions", im.MaxMentions)
	}
	for _, mention := range content.Mentions {
		if !im.ValidID(mention) {
			return im.Errorf(im.Invalid, "mentions must be user ids or all")
		}
	}
	if content.ReplyTo < 0 || content.ThreadId < 0 || content.ForwardedFrom < 0 {
		return im.Errorf(im.Invalid, "reply_to, thread_id and forwarded_from are message ids")
	}
	return nil
}

func validateAttributes(attributes map[string]string) error {
	if len(attributes) > im.MaxAttributes {
		return im.Errorf(im.Invalid, "at most %d attributes", im.MaxAttributes)
	}
	for key, value := range attributes {
		if len(key) > im.MaxAttributeKey || len(value) > im.MaxAttributeValue {
			return im.Errorf(im.Invalid, "attribute keys are at most %d bytes, values %d",
				im.MaxAttributeKey, im.MaxAttributeValue)
		}
		if !utf8.ValidString(key) || !utf8.ValidString(value) {
			return im.Errorf(im.Invalid, "attributes must be UTF-8")
		}
	}
	return nil
}
