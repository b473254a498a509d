// Package components is what the kit's Wombat has beyond its stock components.
//
//	jetstream_work   input      messages of a work queue, each acknowledged alone and kept in progress while it is worked on
//	ask_worker       processor  one question to a worker, which waits as long as the worker works on it and no longer
//	jetstream_store  output     messages into a stream, many on their way at once, each done once the stream has it
//
// They belong together. A message whose worker is busy is not put back, but held: the input tells the server that
// it is still being worked on, so nothing runs into a time limit because the workers are slow, and the server sends
// no more than the consumer's max_ack_pending. How often a worker failed on a message is counted where it is seen, not
// by the server's deliveries: those also count every restart on the way. What the output could not store goes back by
// way of the input, and nothing else of its batch does.
//
// All of them, in all pipelines of a process, share one connection to a server: what they send at the same moment
// leaves in one write, and there is one to wait for when the server is away.
package components
