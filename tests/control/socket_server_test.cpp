#include "monitor/control/socket_server.h"

#include <sys/socket.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstdlib>
#include <fstream>

#include "monitor/control/vcpu_calls.h"
#include "monitor/cpu/fault.h"

namespace ring3 {
namespace {

/// A folder that goes with the test.
struct Folder {
  std::string path;
  Folder() {
    char name[] = "/tmp/ring3-test-XXXXXX";
    path = mkdtemp(name);
  }
  ~Folder() { std::system(("rm -rf " + path).c_str()); }
  SocketAddress Socket() const { return {.kind = SocketAddress::Kind::kUnix, .path = path + "/socket"}; }
};

class Echo final : public Session {
 public:
  explicit Echo(std::shared_ptr<Connection> connection) : connection_(std::move(connection)) {}
  void Receive(std::string_view bytes) override {
    connection_->Send(bytes);
    if (bytes.find("bye") != std::string_view::npos) connection_->Close();
  }

 private:
  std::shared_ptr<Connection> connection_;
};

std::unique_ptr<Session> MakeEcho(std::shared_ptr<Connection> connection) {
  return std::make_unique<Echo>(std::move(connection));
}

std::string ReadExactly(int fd, size_t bytes) {
  std::string text(bytes, 0);
  size_t done = 0;
  while (done < bytes) {
    const ssize_t n = read(fd, text.data() + done, bytes - done);
    if (n <= 0) break;
    done += static_cast<size_t>(n);
  }
  text.resize(done);
  return text;
}

void Say(int fd, const std::string& text) {
  REQUIRE(write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size()));
}

TEST_CASE("clients are served side by side, and go when they or the session want", "[control]") {
  const Folder folder;
  const SocketServer server(folder.Socket(), "--test", 4, MakeEcho);
  const int a = ConnectTo(folder.Socket(), "--test"), b = ConnectTo(folder.Socket(), "--test");
  Say(a, "one");
  Say(b, "two");
  CHECK(ReadExactly(b, 3) == "two");
  CHECK(ReadExactly(a, 3) == "one");
  Say(a, "bye");
  CHECK(ReadExactly(a, 100) == "bye");  // and then the end
  close(a);
  close(b);
  const int c = ConnectTo(folder.Socket(), "--test");
  Say(c, "three");
  CHECK(ReadExactly(c, 5) == "three");
  close(c);
}

TEST_CASE("those beyond the number of clients wait until it is their turn", "[control]") {
  const Folder folder;
  const SocketServer server(folder.Socket(), "--test", 1, MakeEcho);
  const int a = ConnectTo(folder.Socket(), "--test"), b = ConnectTo(folder.Socket(), "--test");
  Say(b, "later");
  Say(a, "now");
  CHECK(ReadExactly(a, 3) == "now");
  close(a);
  CHECK(ReadExactly(b, 5) == "later");
  close(b);
}

TEST_CASE("the socket goes with the server, and one that was left behind is replaced", "[control]") {
  const Folder folder;
  const std::string path = folder.Socket().path;
  { const SocketServer server(folder.Socket(), "--test", 1, MakeEcho); }
  CHECK(access(path.c_str(), F_OK) != 0);
  close(ListenAt(folder.Socket(), "--test"));  // closed, but its name is there
  REQUIRE(access(path.c_str(), F_OK) == 0);
  const SocketServer server(folder.Socket(), "--test", 1, MakeEcho);
  CHECK_THROWS_WITH(SocketServer(folder.Socket(), "--test", 1, MakeEcho), Catch::Contains("in use"));
}

TEST_CASE("addresses that cannot be had say so", "[control]") {
  const Folder folder;
  std::ofstream(folder.path + "/file") << "precious";
  SocketAddress address = folder.Socket();
  address.path = folder.path + "/file";
  CHECK_THROWS_WITH(ListenAt(address, "--test"), Catch::Contains("no socket"));
  address.path = folder.path + "/missing/socket";
  CHECK_THROWS_WITH(ListenAt(address, "--test"), Catch::Contains("No such file"));
  address.path = std::string(200, 'x');
  CHECK_THROWS_WITH(ListenAt(address, "--test"), Catch::Contains("too long"));
}

TEST_CASE("addresses have QEMU's spelling", "[control]") {
  SocketAddress a = ParseSocketAddress("unix:/tmp/x,server=on,wait=off", "--qmp");
  CHECK(a.path == "/tmp/x");
  CHECK_FALSE(a.wait);
  a = ParseSocketAddress("tcp:localhost:4444,server,wait=on", "--qmp");
  CHECK(a.host == "localhost");
  CHECK(a.port == "4444");
  CHECK(a.wait);
  CHECK(ParseSocketAddress("tcp::1234", "--gdb").host.empty());
  CHECK(ParseSocketAddress("tcp:[::1]:1234", "--gdb").port == "1234");
  for (const char* wrong :
       {"", "unix:", "tcp:", "tcp:1234", "tcp:host:", "udp:1:2", "/tmp/x", "unix:x,server=off", "unix:x,what"})
    CHECK_THROWS_AS(ParseSocketAddress(wrong, "--qmp"), UsageError);
}

TEST_CASE("calls are done by whoever runs the mailbox, and by the caller after the end", "[control]") {
  Mailbox mailbox([] {});
  VcpuCalls calls(mailbox);
  const auto here = std::this_thread::get_id();
  std::thread::id during, after;
  std::thread caller([&] {
    during = calls.Call([] { return std::this_thread::get_id(); });
    CHECK_THROWS_AS(calls.Call([] { throw std::runtime_error("no"); }), std::runtime_error);
  });
  std::atomic<bool> done = false;
  std::thread watcher([&] {
    caller.join();
    done = true;
  });
  while (!done) mailbox.Run();
  watcher.join();
  CHECK(during == here);
  calls.Close();
  std::thread([&] { after = calls.Call([] { return std::this_thread::get_id(); }); }).join();
  CHECK(after != here);
}

}  // namespace
}  // namespace ring3
