// What test pods run: `serve WORD` answers WORD on port 8080; `ask HOST:PORT` prints what answers there, or fails within 3 s.
package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"time"
)

func main() {
	if os.Args[1] == "ask" {
		connection, err := net.DialTimeout("tcp", os.Args[2], 3*time.Second)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		answer, _ := io.ReadAll(connection)
		fmt.Print(string(answer))
		return
	}
	listener, err := net.Listen("tcp", ":8080")
	if err != nil {
		panic(err)
	}
	for {
		if connection, err := listener.Accept(); err == nil {
			fmt.Fprint(connection, os.Args[2])
			connection.Close()
		}
	}
}
