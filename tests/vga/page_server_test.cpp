// The server of noVNC's pages.
#include "monitor/display/page_server.h"

#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstdlib>
#include <fstream>

namespace ring3 {
namespace {

struct Folder {
  Folder() {
    REQUIRE(mkdtemp(path));
    std::ofstream(std::string(path) + "/page.html") << "<p>";
    std::ofstream(std::string(path) + "/script.js") << "1";
  }
  ~Folder() {
    for (const char* name : {"/page.html", "/script.js"}) unlink((std::string(path) + name).c_str());
    rmdir(path);
  }
  char path[32] = "/tmp/ring3-pages-XXXXXX";
};

TEST_CASE("Pages come with their type, the start page by a redirection") {
  const Folder folder;
  const PageServer server(folder.path, "/page.html?port=1", htonl(INADDR_LOOPBACK), 0);
  REQUIRE(server.Listening());
  CHECK(server.Answer("GET / HTTP/1.1").find("Location: /page.html?port=1\r\n") != std::string::npos);
  const std::string page = server.Answer("GET /page.html?x=1 HTTP/1.1");
  CHECK(page.starts_with("HTTP/1.0 200 OK\r\nContent-Type: text/html"));
  CHECK(page.ends_with("\r\n\r\n<p>"));
  CHECK(server.Answer("GET /script.js").find("text/javascript") != std::string::npos);
}

TEST_CASE("What is no request for a page is refused") {
  const Folder folder;
  const PageServer server(folder.path, "/", htonl(INADDR_LOOPBACK), 0);
  CHECK(server.Answer("GET /../etc/passwd HTTP/1.1").starts_with("HTTP/1.0 403"));
  CHECK(server.Answer("GET etc HTTP/1.1").starts_with("HTTP/1.0 403"));
  CHECK(server.Answer("GET /none HTTP/1.1").starts_with("HTTP/1.0 404"));
  CHECK(server.Answer("GET /. HTTP/1.1").starts_with("HTTP/1.0 404"));
  CHECK(server.Answer("GET ").starts_with("HTTP/1.0 403"));
  CHECK(server.Answer("POST / HTTP/1.1").starts_with("HTTP/1.0 501"));
  CHECK(server.Answer(std::string("\0\xFF", 2)).starts_with("HTTP/1.0 501"));
}

}  // namespace
}  // namespace ring3
