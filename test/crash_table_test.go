package test

import (
	"fmt"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/im-transfer/im"
)

// The roles of the servers that die. On the embedded drivers all are one process.
const (
	aTransfer = "transfer"
	aGateway  = "websocket"
	anHTTP    = "http"
)

// The driver sets.
const (
	onEmbedded = "embedded"
	onCluster  = "cluster"
)

// row walks a crash place: the server of a role dies at it in a story, another takes
// its place, and everything that was promised holds.
type row struct {
	place  im.CrashPlace
	role   string
	story  func(*scene)
	time   int           // at which time the place is reached; 0 = the first
	before im.CrashPlace // where a server has died before
	only   string        // a driver set; empty = both
}

// crashRows is every crash place, some with several stories, in the order of the
// message's way.
var crashRows = []row{
	{place: im.CrashUserMade, role: anHTTP, story: whoRegisters},
	{place: im.CrashFamilyBegun, role: anHTTP, story: whoLogsIn},
	{place: im.CrashTokenReplaced, role: anHTTP, story: whoRefreshes},
	{place: im.CrashSignedOut, role: anHTTP, story: whoSignsOut},

	{place: im.CrashLoginJudged, role: aGateway, story: whoConnectsForTheFirstTime},
	{place: im.CrashAttached, role: aTransfer, story: whoConnects},
	{place: im.CrashSendRead, role: aGateway, story: aMessageNobodyHas},

	{place: im.CrashAccepted, role: aTransfer, story: aMessageNobodyHas},
	{place: im.CrashPublished, role: aTransfer, story: aMessage},
	{place: im.CrashConfirmed, role: aTransfer, story: aMessage, only: onEmbedded},
	{place: im.CrashConfirmed, role: aTransfer, story: aStoredMessage, only: onCluster},

	{place: im.CrashCommandsReceived, role: aTransfer, story: aMessageNobodyHas, only: onEmbedded},
	{place: im.CrashCommandsReceived, role: aTransfer, story: aStoredMessage, only: onCluster},
	{place: im.CrashMembersWritten, role: aTransfer, story: aStoredMessage, only: onCluster},
	{place: im.CrashConversationMade, role: aTransfer, story: aMessage},
	{place: im.CrashBeforeInsert, role: aTransfer, story: aMessageNobodyHas, only: onEmbedded},
	{place: im.CrashBeforeInsert, role: aTransfer, story: aStoredMessage, only: onCluster},
	{place: im.CrashInserted, role: aTransfer, story: aStoredMessage},
	{place: im.CrashInserted, role: aTransfer, time: 5, story: aCrowd, only: onEmbedded},
	{place: im.CrashInserted, role: aTransfer, story: aClientThatDiesToo, only: onEmbedded},
	{place: im.CrashInserted, role: aTransfer, story: aNewMember},
	{place: im.CrashProjected, role: aTransfer, story: aNewMember},
	{place: im.CrashPackHanded, role: aTransfer, story: aStoredMessage},
	{place: im.CrashPackHanded, role: aTransfer, story: aNewMember},
	{place: im.CrashFannedOut, role: aTransfer, story: aStoredMessage},
	{place: im.CrashFannedOut, role: aTransfer, story: aNewMember},
	{place: im.CrashSendersAnswered, role: aTransfer, story: aStoredMessage},
	{place: im.CrashBeforeHints, role: aTransfer, story: anAnsweredMessage},

	{place: im.CrashPacksReceived, role: aTransfer, story: aStoredMessage},
	{place: im.CrashBeforeInboxCommit, role: aTransfer, story: aStoredMessage},
	{place: im.CrashBeforeInboxCommit, role: aTransfer, time: 5, story: aCrowd, only: onEmbedded},
	{place: im.CrashMarksRaised, role: aTransfer, story: aRead, only: onCluster},
	{place: im.CrashInboxCommitted, role: aTransfer, story: aStoredMessage},
	{place: im.CrashInboxCommitted, role: aTransfer, time: 5, story: aCrowd, only: onEmbedded},
	{place: im.CrashInboxCommitted, role: aTransfer, story: aRead},
	{place: im.CrashInboxCommitted, role: aTransfer, story: aDurableAck},
	{place: im.CrashPushed, role: aTransfer, story: aStoredMessage},
	{place: im.CrashPushed, role: aTransfer, story: aRead},
	{place: im.CrashPushed, role: aTransfer, story: aDurableAck},
	{place: im.CrashReceiptsPublished, role: aTransfer, story: aRead, only: onCluster},

	{place: im.CrashReplyTaken, role: aGateway, story: aStoredMessage},
	{place: im.CrashCallAnswered, role: anHTTP, story: aMessageByHTTP},
	{place: im.CrashWritten, role: aGateway, time: 2, story: anEntryOnItsWay},
	{place: im.CrashAckRead, role: aGateway, story: anAck},
	{place: im.CrashAckTaken, role: aTransfer, story: anAck},
	{place: im.CrashAckTaken, role: aTransfer, story: aDurableAck},

	{place: im.CrashDeregistered, role: aTransfer, story: whoIsStopped},
	{place: im.CrashReleased, role: aTransfer, story: whoIsStopped},
	{place: im.CrashCursorsLeft, role: aTransfer, story: whoIsStopped},
	{place: im.CrashSequencerEnded, role: aTransfer, story: whoIsStopped},
	{place: im.CrashConsumerOpened, role: aTransfer, before: im.CrashConfirmed, story: whoTakesOver},
	{place: im.CrashTermTaken, role: aTransfer, before: im.CrashConfirmed, story: whoTakesOver},
	{place: im.CrashTermTaken, role: aTransfer, time: 20, before: im.CrashInserted, story: whoTakesOver},
	{place: im.CrashPackReplayed, role: aTransfer, before: im.CrashInserted, story: whoTakesOver, only: onEmbedded},

	{place: im.CrashQuarantined, role: aTransfer, story: whatCanNotBeDecoded},
	{place: im.CrashReplayed, role: aTransfer, story: aReplayedCommand},
	{place: im.CrashReplayKept, role: aTransfer, story: aReplayedPack, only: onEmbedded},
	{place: im.CrashFloorRaised, role: aTransfer, story: whatIsTooOld, only: onEmbedded},
	{place: im.CrashBeforeTransaction, role: aTransfer, time: 60, story: aLongTalk, only: onEmbedded},
	{place: im.CrashTransactionCommitted, role: aTransfer, time: 60, story: aLongTalk, only: onEmbedded},
}

func TestTheCrashTableHasEveryPlace(t *testing.T) {
	var walked []im.CrashPlace
	for _, r := range crashRows {
		if !slices.Contains(walked, r.place) {
			walked = append(walked, r.place)
		}
	}
	if !slices.Equal(walked, im.CrashPlaces()) {
		t.Errorf("walked are %v, there are %v", walked, im.CrashPlaces())
	}
}

// walk walks the rows of a driver set, so many at once.
func walk(t *testing.T, set string, workers int, enter func(t *testing.T, worker int) *scene) {
	rows := make(chan row)
	var working sync.WaitGroup
	for worker := range workers {
		working.Go(func() {
			for r := range rows {
				t.Run(r.name(), func(t *testing.T) {
					s := enter(t, worker)
					s.row = r
					r.story(s)
				})
			}
		})
	}
	for _, r := range crashRows {
		if r.only == "" || r.only == set {
			rows <- r
		}
	}
	close(rows)
	working.Wait()
}

// name is the place, and what else a row has.
func (r row) name() string {
	name := string(r.place)
	if r.time > 1 {
		name += fmt.Sprint(":", r.time)
	}
	if r.before != "" {
		name += " after " + string(r.before)
	}
	story := runtime.FuncForPC(reflect.ValueOf(r.story).Pointer()).Name()
	return name + " " + story[strings.LastIndex(story, ".")+1:]
}
