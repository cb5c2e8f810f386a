// What test pods run: `serve WORD` answers WORD on port 8080, `web WORD` over HTTP; `ask HOST:PORT` prints what answers there, or
// fails within 3 s; `write FILE WORD` and `read FILE` are for volumes.
package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"
)

func main() {
	switch os.Args[1] {
	case "ask":
		connection, err := net.DialTimeout("tcp", os.Args[2], 3*time.Second)
		check(err)
		answer, _ := io.ReadAll(connection)
		fmt.Print(string(answer))
	case "write":
		file, err := os.Create(os.Args[2])
		check(err)
		_, err = file.WriteString(os.Args[3])
		check(err)
		check(file.Sync())
	case "read":
		content, err := os.ReadFile(os.Args[2])
		check(err)
		fmt.Print(string(content))
	case "web":
		check(http.ListenAndServe(":8080", http.HandlerFunc(func(answer http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(answer, os.Args[2])
		})))
	default:
		listener, err := net.Listen("tcp", ":8080")
		check(err)
		for {
			if connection, err := listener.Accept(); err == nil {
				fmt.Fprint(connection, os.Args[2])
				connection.Close()
			}
		}
	}
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
