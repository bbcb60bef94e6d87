// judge reads histories of conversations and says, by Porcupine, whether each is linearizable: whether there is an order
// of all that clients did, each at some moment between its call and its return, that one single log could have answered.
//
// The log of a conversation: `append` with an idempotency key gives the number behind the last one, or, if the key is
// there already, the number that it has; `read` shows what is at a number, or the whole log.
//
// Input: a JSON object a line, as tests/support/histories/operations.py writes them. Output: a line for each conversation that
// is not linearizable, then one that counts. Exit code 1 if any is not, or could not be decided in the time given.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"
)

// Operation is one line of the input.
type Operation struct {
	History      string   `json:"history"`
	Conversation string   `json:"conversation"`
	Client       int      `json:"client"`
	Kind         string   `json:"kind"` // append, read, whole
	Key          string   `json:"key"`
	Seq          int      `json:"seq"`
	Entry        string   `json:"entry"`
	Entries      []string `json:"entries"`
	Call         int64    `json:"call"`
	Return       int64    `json:"return"`
}

// A log is its last entry; whoever appends the same to the same log gets the same one, so that equal logs are one, and
// a search through thousands of orders keeps each entry once.
type log struct {
	before     *log
	length     int
	key, entry string
	after      map[[2]string]*log
}

// The log when only its first `length` entries were there.
func (l *log) first(length int) *log {
	for l.length > length {
		l = l.before
	}
	return l
}

func (l *log) appended(key, entry string) *log {
	what := [2]string{key, entry}
	if l.after == nil {
		l.after = map[[2]string]*log{}
	}
	if l.after[what] == nil {
		l.after[what] = &log{before: l, length: l.length + 1, key: key, entry: entry}
	}
	return l.after[what]
}

func (l *log) knows(key string) bool {
	for ; l.length > 0; l = l.before {
		if l.key == key {
			return true
		}
	}
	return false
}

func (l *log) is(entries []string) bool {
	if l.length != len(entries) {
		return false
	}
	for ; l.length > 0; l = l.before {
		if l.entry != entries[l.length-1] {
			return false
		}
	}
	return true
}

func step(state, input, _ interface{}) (bool, interface{}) {
	l, operation := state.(*log), input.(Operation)
	switch operation.Kind {
	case "append":
		if operation.Seq >= 1 && operation.Seq <= l.length {
			there := l.first(operation.Seq)
			return there.entry == operation.Entry && there.key == operation.Key, l
		}
		if operation.Seq != l.length+1 || l.knows(operation.Key) {
			return false, l
		}
		return true, l.appended(operation.Key, operation.Entry)
	case "read":
		within := operation.Seq >= 1 && operation.Seq <= l.length
		return within && l.first(operation.Seq).entry == operation.Entry, l
	case "whole":
		return l.is(operation.Entries), l
	}
	return false, l
}

func describe(input, _ interface{}) string {
	operation := input.(Operation)
	switch operation.Kind {
	case "append":
		return fmt.Sprintf("append %q is %d (%s)", operation.Key, operation.Seq, operation.Entry)
	case "read":
		return fmt.Sprintf("at %d there is %s", operation.Seq, operation.Entry)
	}
	return fmt.Sprintf("all is %d long", len(operation.Entries))
}

// Each conversation has a tree of logs of its own.
func model() porcupine.Model {
	return porcupine.Model{
		Init:              func() interface{} { return &log{} },
		Step:              step,
		Equal:             func(one, other interface{}) bool { return one == other },
		DescribeOperation: describe,
		DescribeState:     func(state interface{}) string { return fmt.Sprintf("%d long", state.(*log).length) },
	}
}

type place struct{ history, conversation string }

func read(file *os.File) (map[place][]porcupine.Operation, error) {
	found := map[place][]porcupine.Operation{}
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<28)
	for lines.Scan() {
		var operation Operation
		if err := json.Unmarshal(lines.Bytes(), &operation); err != nil {
			return nil, err
		}
		at := place{operation.History, operation.Conversation}
		found[at] = append(found[at], porcupine.Operation{
			ClientId: operation.Client, Input: operation, Call: operation.Call, Return: operation.Return,
		})
	}
	return found, lines.Err()
}

func picture(folder string, at place, info porcupine.LinearizationInfo) {
	if folder == "" {
		return
	}
	name := strings.NewReplacer("/", "_", ":", "_", "|", "_", " ", "_").Replace(at.history + "-" + at.conversation)
	file, err := os.Create(filepath.Join(folder, name+".html"))
	if err != nil {
		fmt.Fprintln(os.Stderr, "judge:", err)
		return
	}
	defer file.Close()
	if err := porcupine.Visualize(model(), info, file); err != nil {
		fmt.Fprintln(os.Stderr, "judge:", err)
	}
}

func main() {
	patience := flag.Duration("patience", time.Minute, "for each conversation")
	pictures := flag.String("pictures", "", "a folder for a page of each conversation that is not linearizable")
	flag.Parse()
	histories, err := read(os.Stdin)
	if err != nil {
		fmt.Fprintln(os.Stderr, "judge: what came is no history:", err)
		os.Exit(2)
	}
	var places []place
	for at := range histories {
		places = append(places, at)
	}
	sort.Slice(places, func(i, j int) bool {
		return places[i].history < places[j].history ||
			places[i].history == places[j].history && places[i].conversation < places[j].conversation
	})
	operations, bad := 0, 0
	for _, at := range places {
		operations += len(histories[at])
		result, info := porcupine.CheckOperationsVerbose(model(), histories[at], *patience)
		if result != porcupine.Ok {
			bad++
			fmt.Printf("%s: %s: %s\n", at.history, at.conversation, result)
			picture(*pictures, at, info)
		}
	}
	fmt.Printf("%d conversations, %d operations, %d not linearizable\n", len(places), operations, bad)
	if bad > 0 {
		os.Exit(1)
	}
}
