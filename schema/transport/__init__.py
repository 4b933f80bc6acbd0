"""How operations travel: GraphQL over HTTP, Server-Sent Events and WebSocket, for any schema and any application."""
