// A worker that takes intents, completes them, sends no more, and reads to the end: the idiom of a
// bidirectional stream in Go. It knows nothing but the descriptors. Prints one JSON object.
// usage: worker ADDRESS DESCRIPTORS COUNT
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"strconv"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
)

const method = "/onex.v1.IntentQueueService/TakeIntents"

// response is what a worker has to know of a TakeIntentsResponse.
type response struct {
	Delivery *struct{ ClaimToken string }
	Settled  *struct{ Status string }
}

// result is what the worker saw.
type result struct {
	Code    string         `json:"code"`
	Message string         `json:"message"`
	Taken   int            `json:"taken"`
	Settled map[string]int `json:"settled"`
}

// worker is one stream to a queue.
type worker struct {
	stream   grpc.ClientStream
	request  protoreflect.MessageDescriptor
	response protoreflect.MessageDescriptor
}

func main() {
	count, err := strconv.Atoi(os.Args[3])
	must(err)
	request, answer := messages(os.Args[2])
	connection, err := grpc.NewClient(
		os.Args[1], grpc.WithTransportCredentials(insecure.NewCredentials()))
	must(err)
	defer connection.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	description := &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}
	stream, err := connection.NewStream(ctx, description, method)
	must(err)
	seen := worker{stream, request, answer}.work(count)
	must(json.NewEncoder(os.Stdout).Encode(seen))
}

// work takes and completes so many intents.
func (w worker) work(count int) result {
	seen := result{Settled: map[string]int{}}
	w.say(`{"hello": {"worker": "effect/foreign"}}`)
	w.say(fmt.Sprintf(`{"credit": {"count": %d}}`, count))
	var tokens []string
	for len(tokens) < count {
		heard, err := w.hear()
		must(err)
		tokens = append(tokens, heard.Delivery.ClaimToken)
	}
	seen.Taken = len(tokens)
	for _, token := range tokens {
		w.say(fmt.Sprintf(`{"complete": {"claim_token": %q}}`, token))
	}
	must(w.stream.CloseSend())
	for {
		heard, err := w.hear()
		if errors.Is(err, io.EOF) {
			err = nil
		} else if err == nil {
			seen.Settled[heard.Settled.Status]++
			continue
		}
		seen.Code, seen.Message = status.Code(err).String(), fmt.Sprint(err)
		return seen
	}
}

func (w worker) say(text string) {
	message := dynamicpb.NewMessage(w.request)
	must(protojson.Unmarshal([]byte(text), message))
	must(w.stream.SendMsg(message))
}

func (w worker) hear() (response, error) {
	var heard response
	message := dynamicpb.NewMessage(w.response)
	if err := w.stream.RecvMsg(message); err != nil {
		return heard, err
	}
	text, err := protojson.Marshal(message)
	must(err)
	must(json.Unmarshal(text, &heard))
	return heard, nil
}

// messages finds both messages of the stream in a file of descriptors.
func messages(path string) (request, answer protoreflect.MessageDescriptor) {
	raw, err := os.ReadFile(path)
	must(err)
	set := &descriptorpb.FileDescriptorSet{}
	must(proto.Unmarshal(raw, set))
	files, err := protodesc.NewFiles(set)
	must(err)
	found, err := files.FindDescriptorByName("onex.v1.IntentQueueService")
	must(err)
	take := found.(protoreflect.ServiceDescriptor).Methods().ByName("TakeIntents")
	return take.Input(), take.Output()
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
