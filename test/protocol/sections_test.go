package protocol

import "testing"

// The sections of the protocol. The stories of one share a server, as users of one
// would; those that need settings of their own are tests by themselves.

// story is what is told on a server with the default settings.
type story struct {
	name string
	tell func(t *testing.T, w *world)
}

func together(t *testing.T, stories []story) {
	t.Parallel()
	w := start(t)
	for _, s := range stories {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			s.tell(t, w)
		})
	}
}

func TestFrames(t *testing.T) {
	together(t, []story{
		{"framing that ends the connection", testFramingThatEndsTheConnection},
		{"WebSocket messages that end the connection", testWebSocketMessagesThatEndTheConnection},
		{"a frame of 65536 bytes", testAFrameOf65536Bytes},
		{"text that is refused", testTextThatIsRefused},
		{"text that is accepted", testTextThatIsAccepted},
		{"frames that are refused", testFramesThatAreRefused},
		{"sequences are echoed", testSequencesAreEchoed},
		{"one byte at a time", testOneByteAtATime},
		{"many frames at once", testManyFramesAtOnce},
		{"a whole frame before a bad one", testAWholeFrameBeforeABadOne},
		{"a message in parts", testAMessageInParts},
		{"a longer header", testALongerHeader},
		{"another form later", testAnotherFormLater},
		{"half closed", testHalfClosed},
		{"the reason is seen", testTheReasonIsSeen},
		{"origins", testOrigins},
		{"a client closes", testAClientCloses},
	})
}

func TestTypes(t *testing.T) {
	together(t, []story{
		{"integers as they are written", testIntegersAsTheyAreWritten},
		{"integers as they are read", testIntegersAsTheyAreRead},
		{"zero fields", testZeroFields},
		{"unknown fields", testUnknownFields},
		{"values", testValues},
		{"wrong types", testWrongTypes},
		{"data that can not be said", testDataThatCanNotBeSaid},
	})
}

func TestASession(t *testing.T) {
	together(t, []story{
		{"protocol versions", testProtocolVersions},
		{"refused auth", testRefusedAuth},
		{"auth with a bad body", testAuthWithABadBody},
		{"auth is not first", testAuthIsNotFirst},
		{"sending on behind auth", testSendingOnBehindAuth},
		{"superseded and replaced", testSupersededAndReplaced},
		{"the same device twice at once", testTheSameDeviceTwiceAtOnce},
		{"revoked", testRevoked},
		{"rooms and presence", testRoomsAndPresence},
		{"renewal", testRenewal},
		{"refused renewal", testRefusedRenewal},
		{"the token expires", testTheTokenExpires},
	})
}

func TestSending(t *testing.T) {
	together(t, []story{
		{"a message", testAMessage},
		{"repeats", testRepeats},
		{"a repeat of HTTP", testARepeatOfHTTP},
		{"client_msg_id", testClientMsgIDs},
		{"after", testAfter},
		{"order", testOrder},
		{"to", testTo},
		{"too_large", testTooLarge},
		{"max_frame", testMaxFrame},
		{"many requests at once", testManyRequestsAtOnce},
	})
}

func TestTheInbox(t *testing.T) {
	together(t, []story{
		{"resume_from", testResumeFrom},
		{"ack", testAck},
		{"ack by HTTP", testAckByHTTP},
		{"ack above the head", testAckAboveTheHead},
		{"a page after an ack by HTTP", testAPageAfterAnAckByHTTP},
		{"each device has its cursor", testEachDeviceHasItsCursor},
		{"inbox by HTTP", testInboxByHTTP},
		{"an entry is the same everywhere", testAnEntryIsTheSameEverywhere},
		{"too_long", testTooLong},
		{"too_long pages", testTooLongPages},
	})
}

func TestReadsAndSignals(t *testing.T) {
	together(t, []story{
		{"read", testRead},
		{"read receipts", testReadReceipts},
		{"delivered receipts", testDeliveredReceipts},
		{"self chat receipts", testSelfChatReceipts},
		{"receipts are coalesced", testReceiptsAreCoalesced},
		{"unread stays at 1000", testUnreadStaysAt1000},
		{"signals", testSignals},
		{"refused signals", testRefusedSignals},
		{"the shape of errors", testTheShapeOfErrors},
		{"traces", testTraces},
	})
}

func TestTheHTTPAPI(t *testing.T) {
	together(t, []story{
		{"tokens are needed", testTokensAreNeeded},
		{"methods and paths", testMethodsAndPaths},
		{"bodies", testBodies},
		{"gateway", testGateway},
		{"Idempotency-Key", testIdempotencyKeys},
		{"messages by HTTP", testMessagesByHTTP},
		{"conversations", testConversations},
		{"pages of conversations", testPagesOfConversations},
		{"history", testHistory},
		{"history shows what was delivered", testHistoryShowsWhatWasDelivered},
		{"reads", testReads},
		{"refresh", testRefresh},
		{"sign out", testSignOut},
	})
}
