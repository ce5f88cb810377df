// A running machine under control: QMP, the human monitor, the sub-commands, and those who send rubbish.
#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "tests/machine/control_client.h"
#include "tests/machine/process.h"

namespace ring3::test {
namespace {

using Json = nlohmann::json;

/// A machine whose guest spins for ever, and its sockets.
struct Machine {
  Scratch scratch;
  std::string qmp = scratch.Path("qmp"), monitor = scratch.Path("monitor"), gdb = scratch.Path("gdb");
  Process process;

  explicit Machine(std::vector<std::string> more = {}, const std::string& word = "spin")
      : process(Abuse(word, With(std::move(more)))) {}

  std::vector<std::string> With(std::vector<std::string> more) const {
    for (const std::string& word :
         {std::string("-qmp"), "unix:" + qmp + ",server=on,wait=off", std::string("-monitor"), "unix:" + monitor,
          std::string("--gdb"), "unix:" + gdb, std::string("--max-seconds"), std::string("300")})
      more.push_back(word);
    return more;
  }
};

std::string ErrorClass(const Json& answer) { return answer["error"]["class"]; }

}  // namespace

TEST_CASE("control: stop, go on, reset and quit by QMP, with their events", "[control]") {
  Machine machine({"--name", "guest=tester"});
  QmpClient client(machine.qmp);
  CHECK(client.Ask("query-status")["return"]["status"] == "running");
  CHECK(client.Ask("query-name")["return"]["name"] == "tester");
  client.Ask("stop");
  CHECK(client.Sees("STOP"));
  CHECK(client.Ask("query-status")["return"] == Json{{"status", "paused"}, {"running", false}, {"singlestep", false}});
  client.Ask("cont");
  CHECK(client.Sees("RESUME"));
  client.Ask("system_reset");
  CHECK(client.Sees("RESET"));
  client.Ask("system_powerdown");
  CHECK(client.Sees("POWERDOWN"));
  CHECK(client.Ask("quit").contains("return"));
  CHECK(client.Sees("SHUTDOWN"));
  const Outcome outcome = machine.process.Wait();
  CHECK(outcome.exit_code == 0);
  CHECK(outcome.err.empty());
}

TEST_CASE("control: a guest's own end is an event, too", "[control]") {
  Machine machine({"-S"}, "none");
  QmpClient client(machine.qmp);
  CHECK(client.Ask("query-status")["return"]["status"] == "prelaunch");
  client.Ask("cont");
  CHECK(client.Sees("SHUTDOWN"));
  CHECK(machine.process.Wait().exit_code == 0);
}

TEST_CASE("control: with --no-shutdown a guest that has ended can be looked at, and reset", "[control]") {
  Machine machine({"-no-shutdown"}, "none");
  QmpClient client(machine.qmp);
  while (client.Ask("query-status")["return"]["status"] == "running") usleep(10'000);
  CHECK(client.Ask("query-status")["return"]["status"] == "shutdown");
  CHECK(client.Ask("cont")["error"]["desc"] == "Resetting the Virtual Machine is required");
  client.Ask("system_reset");
  CHECK(client.Sees("RESET"));
  CHECK(client.Ask("query-status")["return"]["status"] == "prelaunch");
  client.Ask("cont");
  CHECK(client.Sees("SHUTDOWN"));
  client.Ask("quit");
  CHECK(machine.process.Wait().exit_code == 0);
}

TEST_CASE("control: with --no-shutdown a triple fault is reported, and its registers can be asked for", "[control]") {
  Machine machine({"-no-reboot", "-no-shutdown"}, "triple");
  QmpClient client(machine.qmp);
  while (client.Ask("query-status")["return"]["status"] == "running") usleep(10'000);
  CHECK(client.Ask("query-status")["return"]["status"] == "shutdown");
  const Json registers = client.Ask("human-monitor-command", {{"command-line", "info registers"}});
  CHECK(registers["return"].get<std::string>().find("EIP=") != std::string::npos);
  client.Ask("quit");
  const Outcome outcome = machine.process.Wait();
  CHECK(outcome.exit_code == 0);
  CHECK(outcome.err.find("triple fault") != std::string::npos);
}

TEST_CASE("control: requests that cannot be met", "[control]") {
  Machine machine;
  QmpClient client(machine.qmp);
  CHECK(ErrorClass(client.Ask("no-such-command")) == "CommandNotFound");
  CHECK(ErrorClass(client.Ask("stop", {{"x", 1}})) == "GenericError");
  CHECK(ErrorClass(client.Ask("send-key")) == "GenericError");
  CHECK(ErrorClass(client.Ask("send-key", {{"keys", {{{"type", "qcode"}, {"data", "no-key"}}}}})) == "GenericError");
  CHECK(ErrorClass(client.Ask("send-key", {{"keys", {1, 2}}})) == "GenericError");
  CHECK(ErrorClass(client.Ask("human-monitor-command", {{"command-line", 5}})) == "GenericError");
  CHECK(ErrorClass(client.Ask("eject", {{"device", "no-drive"}})) == "DeviceNotFound");
  CHECK(ErrorClass(client.Ask("input-send-event", {{"events", {{{"type", "key"}}}}})) == "GenericError");
  CHECK(ErrorClass(client.Ask("pmemsave", {{"val", 0}, {"size", 16}, {"filename", "/"}})) == "GenericError");
  CHECK(ErrorClass(client.Ask("memsave", {{"val", -1}, {"size", -1}, {"filename", machine.scratch.Path("m")}})) ==
        "GenericError");
  CHECK(client.Ask("query-status").contains("return"));
}

TEST_CASE("control: keys, mouse and memory", "[control]") {
  Machine machine;
  QmpClient client(machine.qmp);
  CHECK(client.Ask("send-key", {{"keys", {{{"type", "qcode"}, {"data", "ctrl"}}, {{"type", "number"}, {"data", 46}}}}})
            .contains("return"));
  CHECK(client
            .Ask("input-send-event", Json::parse(R"({"events": [
      {"type": "key", "data": {"down": true, "key": {"type": "qcode", "data": "a"}}},
      {"type": "rel", "data": {"axis": "x", "value": 5}},
      {"type": "btn", "data": {"down": true, "button": "left"}}]})"))
            .contains("return"));
  const std::string file = machine.scratch.Path("memory");
  CHECK(client.Ask("pmemsave", {{"val", 0x100000}, {"size", 100'000}, {"filename", file}}).contains("return"));
  CHECK(ReadFile(file).size() == 100'000);
  const std::string registers = client.Ask("human-monitor-command", {{"command-line", "info registers"}})["return"];
  CHECK(registers.find("EIP=") != std::string::npos);
}

TEST_CASE("control: several clients side by side, and in turn", "[control]") {
  Machine machine;
  for (int turn = 0; turn < 20; ++turn) {
    QmpClient a(machine.qmp), b(machine.qmp);
    a.Ask("stop");
    CHECK(b.Sees("STOP"));
    b.Ask("cont");
    CHECK(a.Sees("RESUME"));
  }
}

TEST_CASE("control: rubbish, deep nesting and floods are survived", "[control]") {
  Machine machine;
  std::string noise;
  for (unsigned i = 0; i < 200'000; ++i) noise.push_back(static_cast<char>(i * 2654435761u >> 24));
  for (const std::string& path : {machine.qmp, machine.monitor, machine.gdb}) {
    SocketClient(path).Send(noise);
    SocketClient(path).Send("{\"execute\":" + std::string(500'000, '['));
    SocketClient(path).Send("{\"execute\":\"" + std::string(3'000'000, 'x'));
    SocketClient(path).Send("$" + std::string(1'000'000, 'm') + "#00$g#67\x03\x03");
    SocketClient(path).Send("$Z0,0,1#aa$Z2,fffffffe,ffff#00$vCont;s#b8");
  }
  QmpClient client(machine.qmp);
  CHECK(client.Ask("query-status").contains("return"));
  client.Ask("quit");
  CHECK(machine.process.Wait().exit_code == 0);
}

TEST_CASE("control: a client that does not read does not hold the guest up", "[control]") {
  Machine machine;
  const SocketClient idle(machine.qmp);
  idle.Send("{\"execute\":\"qmp_capabilities\"}");
  for (int i = 0; i < 2000; ++i) idle.Send("{\"execute\":\"query-commands\"}");
  QmpClient client(machine.qmp);
  CHECK(client.Ask("query-status").contains("return"));
}

TEST_CASE("control: the human monitor answers lines with text and a prompt", "[control]") {
  Machine machine;
  SocketClient client(machine.monitor);
  const std::string prompt = "(qemu) ";
  CHECK_THAT(client.ReadUntil(prompt), Catch::Contains("type 'help'"));
  const auto ask = [&](const std::string& line) {
    client.Send(line + "\n");
    return client.ReadUntil(prompt);
  };
  CHECK_THAT(ask("help"), Catch::Contains("system_powerdown"));
  CHECK_THAT(ask("info status"), Catch::Contains("VM status: running"));
  ask("stop");
  CHECK_THAT(ask("info status"), Catch::Contains("paused"));
  CHECK_THAT(ask("x/2i $eip"), Catch::Contains(":  "));
  CHECK_THAT(ask("xp /4xb 0x100000"), Catch::StartsWith("00100000: 0x"));
  CHECK_THAT(ask("xp /99999999999xb 0"), Catch::StartsWith("Error: at most"));
  CHECK_THAT(ask("x/z 0"), Catch::StartsWith("Error: 'z'"));
  CHECK_THAT(ask("x $nothing"), Catch::StartsWith("Error: unknown register"));
  CHECK_THAT(ask("x 0xf0000000"), Catch::Contains("Cannot access memory"));
  CHECK_THAT(ask("print $eip - $eip + 5"), Catch::StartsWith("0x5"));
  CHECK_THAT(ask("sendkey nonsense"), Catch::StartsWith("Error: unknown key"));
  CHECK_THAT(ask("change ide1-cd0 x"), Catch::StartsWith("Error: "));
  CHECK_THAT(ask("nonsense"), Catch::StartsWith("unknown command: 'nonsense'"));
  client.Send("quit\n");
  CHECK(machine.process.Wait().exit_code == 0);
}

TEST_CASE("control: the sub-commands of ring3 reach the machine", "[control]") {
  Machine machine;
  QmpClient(machine.qmp).Ask("query-status");
  const auto ring3 = [&](std::vector<std::string> words) {
    words.insert(words.begin() + 1, {"--control", machine.qmp});
    return Run(words, {}, 30);
  };
  CHECK(ring3({"status"}).out == "running\n");
  CHECK(ring3({"stop"}).exit_code == 0);
  CHECK(ring3({"status"}).out == "paused\n");
  CHECK(ring3({"cont"}).exit_code == 0);
  CHECK(ring3({"type", "root\\n"}).exit_code == 0);
  CHECK(ring3({"type", "--keys", "ctrl-alt-f1"}).exit_code == 0);
  CHECK(ring3({"type", "--keys", "nonsense"}).exit_code == 1);
  CHECK(ring3({"type"}).exit_code == 2);
  CHECK(ring3({"screenshot"}).exit_code == 2);
  CHECK(ring3({"reset"}).exit_code == 0);
  CHECK(ring3({"powerdown"}).exit_code == 0);
  CHECK(ring3({"quit"}).exit_code == 0);
  CHECK(machine.process.Wait().exit_code == 0);
  const Outcome late = ring3({"status"});
  CHECK(late.exit_code == 2);
  CHECK_THAT(late.err, Catch::StartsWith("ring3: --control unix:") && Catch::Contains("nobody answers"));
}

TEST_CASE("control: a time limit counts while the guest is stopped", "[control]") {
  const Outcome outcome = Run(Abuse("spin", {"-S", "--max-seconds", "1"}), {}, 60);
  CHECK(outcome.exit_code == 124);
}

TEST_CASE("control: a server that waits for its client holds the guest back", "[control]") {
  const Scratch scratch;
  const std::string path = scratch.Path("qmp");
  Process process(Abuse("none", {"-qmp", "unix:" + path + ",server=on,wait=on", "--max-seconds", "300"}));
  const QmpClient client(path, false);  // the guest ends before it could negotiate
  CHECK(process.Wait().exit_code == 0);
}

TEST_CASE("control: a place that is taken, or is none, is told in one line", "[control]") {
  Machine machine;
  QmpClient(machine.qmp).Ask("query-status");
  for (const std::string option : {"--qmp", "--monitor", "--gdb"}) {
    const Outcome outcome = Run(Abuse("none", {option, "unix:" + machine.qmp}), {}, 30);
    CHECK(outcome.exit_code == 2);
    CHECK(LinesOf(outcome.err).size() == 1);
    CHECK_THAT(outcome.err, Catch::Contains("in use"));
  }
}

TEST_CASE("control: the serial port at a socket, for one client after the other", "[control]") {
  const Scratch scratch;
  const std::string path = scratch.Path("serial"), qmp = scratch.Path("qmp");
  Process process({"demo", "--serial", "unix:" + path, "--qmp", "unix:" + qmp, "-S", "--max-seconds", "300"});
  QmpClient control(qmp);
  SocketClient line(path);
  line.Send("x");
  control.Ask("query-status");
  CHECK(control.Ask("query-chardev")["return"][0]["filename"] == "unix:" + path);
  control.Ask("cont");
  CHECK_THAT(line.ReadAll(), Catch::Contains("checks, 0 differ"));
  CHECK(process.Wait().exit_code == 0);
}

TEST_CASE("control: the serial port at a pseudo-terminal, or nowhere", "[control]") {
  const Outcome pty = Run({"demo", "--serial", "pty", "--append", "checks=quick"}, {}, 120);
  CHECK(pty.exit_code == 0);
  CHECK_THAT(pty.err, Catch::StartsWith("char device redirected to /dev/pts/"));
  const Outcome null = Run({"demo", "--serial", "null", "--append", "checks=quick"}, {}, 120);
  CHECK(null.exit_code == 0);
  CHECK(null.out.empty());
  CHECK(Run({"demo", "--serial", "tcp:"}).exit_code == 2);
  CHECK(Run({"demo", "--serial", "unix:/nonexistent/x"}).exit_code == 2);
}

}  // namespace ring3::test
