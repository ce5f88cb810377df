#include "monitor/qmp/commands.h"

#include <fmt/core.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>

#include "monitor/control/guest_bytes.h"
#include "monitor/qmp/arguments.h"
#include "monitor/qmp/input_commands.h"

namespace ring3::qmp {
namespace {

/// The dialect that is spoken, as a version of QEMU's.
constexpr int kMajor = 7, kMinor = 2;

struct Command {
  const char* name;
  Json (*execute)(const CommandContext&, const Json& arguments);
  std::vector<Parameter> parameters;
};

const std::vector<Command>& Commands();

Json QueryCommands(const CommandContext&, const Json&) {
  Json list = Json::array();
  for (const std::string_view name : CommandNames()) list.push_back({{"name", name}});
  return list;
}

Json QueryVersion(const CommandContext&, const Json&) { return Version(); }

Json QueryName(const CommandContext& context, const Json&) {
  return context.guest_name.empty() ? Nothing() : Json{{"name", context.guest_name}};
}

Json QueryStatus(const CommandContext& context, const Json&) {
  return {
      {"status", qmp::NameOf(context.control.State())}, {"singlestep", false}, {"running", context.control.Running()}};
}

Json QueryKvm(const CommandContext& context, const Json&) {
  return {{"enabled", std::string_view(context.control.GetEngine().Name()) == "kvm"},
          {"present", access("/dev/kvm", R_OK | W_OK) == 0}};
}

Json QueryTarget(const CommandContext&, const Json&) { return {{"arch", "i386"}}; }

Json QueryCpus(const CommandContext&, const Json&) {
  Json cpu = {{"cpu-index", 0},
              {"qom-path", "/machine/unattached/device[0]"},
              {"thread-id", getpid()},
              {"target", "i386"},
              {"props", {{"socket-id", 0}, {"core-id", 0}, {"thread-id", 0}}}};
  return Json::array({std::move(cpu)});
}

Json QueryMemorySize(const CommandContext& context, const Json&) {
  return {{"base-memory", context.control.Memory().RamBytes()}};
}

Json QueryMice(const CommandContext& context, const Json&) {
  const bool absolute = context.control.GetBoard().VmPointer().Absolute();
  Json mice = Json::array({{{"name", "PS/2 Mouse"}, {"index", 0}, {"current", !absolute}, {"absolute", false}}});
  if (absolute) mice.push_back({{"name", "vmmouse"}, {"index", 1}, {"current", true}, {"absolute", true}});
  return mice;
}

Json QueryChardev(const CommandContext& context, const Json&) {
  Json list = Json::array();
  for (const CharacterDevice& device : context.control.CharacterDevices()) {
    list.push_back({{"label", device.label}, {"filename", device.file}, {"frontend-open", true}});
  }
  return list;
}

Json DescribeDrive(const DriveInfo& drive) {
  Json info = {{"device", drive.name},
               {"qdev", drive.name},
               {"locked", drive.locked},
               {"removable", drive.removable},
               {"type", "unknown"}};
  if (drive.removable) info["tray_open"] = drive.tray_open;
  if (drive.file.empty()) return info;
  info["inserted"] = {{"file", drive.file},
                      {"drv", drive.format},
                      {"ro", drive.read_only},
                      {"image", {{"filename", drive.file}, {"format", drive.format}, {"virtual-size", drive.bytes}}}};
  return info;
}

Json QueryBlock(const CommandContext& context, const Json&) {
  Json list = Json::array();
  if (!context.control.Drives()) return list;
  for (const DriveInfo& drive : context.control.Drives()->Drives()) list.push_back(DescribeDrive(drive));
  return list;
}

Json Stop(const CommandContext& context, const Json&) {
  context.control.Pause();
  return Nothing();
}

Json Continue(const CommandContext& context, const Json&) {
  if (context.control.State() == RunState::kShutdown) throw CommandError(kGeneric, kNeedsReset);
  context.control.Resume();
  return Nothing();
}

Json Reset(const CommandContext& context, const Json&) {
  context.control.Reset();
  return Nothing();
}

Json PowerDown(const CommandContext& context, const Json&) {
  context.control.PressPowerButton();
  return Nothing();
}

Json Quit(const CommandContext& context, const Json&) {
  context.control.Quit();
  return Nothing();
}

Json HumanCommand(const CommandContext& context, const Json& arguments) {
  return context.monitor.Execute(arguments["command-line"]);
}

Json ScreenDump(const CommandContext& context, const Json& arguments) {
  if (!context.control.Screen()) throw CommandError(kGeneric, "There is no console to take a screendump from");
  const std::string format = arguments.value("format", "ppm");
  if (format != "ppm" && format != "png")
    throw CommandError(kGeneric, fmt::format("Parameter 'format' does not accept value '{}'", format));
  context.control.Screen()->Save(arguments["filename"], format);
  return Nothing();
}

Json ScreenText(const CommandContext& context, const Json&) {
  if (!context.control.Screen()) throw CommandError(kGeneric, "There is no console to read");
  return {{"text", context.control.Screen()->Text()}};
}

std::string DriveNamed(const Json& arguments) {
  if (arguments.contains("device")) return arguments["device"];
  if (arguments.contains("id")) return arguments["id"];
  throw CommandError(kGeneric, "Need exactly one of 'device' and 'id'");
}

DriveControl& Drives(const CommandContext& context, const std::string& name) {
  if (!context.control.Drives()) throw CommandError("DeviceNotFound", fmt::format("Device '{}' not found", name));
  return *context.control.Drives();
}

Json ChangeMedium(const CommandContext& context, const Json& arguments) {
  const std::string name = DriveNamed(arguments);
  const std::string mode = arguments.value("read-only-mode", "retain");
  if (mode != "retain" && mode != "read-only" && mode != "read-write")
    throw CommandError(kGeneric, fmt::format("Parameter 'read-only-mode' does not accept value '{}'", mode));
  Drives(context, name).Change(name, arguments["filename"], arguments.value("format", ""), mode == "read-only");
  return Nothing();
}

Json Eject(const CommandContext& context, const Json& arguments) {
  const std::string name = DriveNamed(arguments);
  Drives(context, name).Eject(name, arguments.value("force", false));
  return Nothing();
}

Json SaveMemory(const CommandContext& context, const Json& arguments, bool physical) {
  constexpr size_t kPiece = 1u << 16;
  const auto address = arguments["val"].get<uint64_t>();
  const auto size = arguments["size"].get<uint64_t>();
  const std::string name = arguments["filename"];
  std::ofstream file(name, std::ios::binary | std::ios::trunc);
  if (!file) throw CommandError(kGeneric, fmt::format("Could not open '{}'", name));
  if (size > PhysicalMemory::kRomEnd) throw CommandError(kGeneric, "Parameter 'size' is larger than 4 GiB");
  std::vector<uint8_t> bytes(kPiece);
  for (uint64_t done = 0; done < size;) {
    const std::span<uint8_t> piece(bytes.data(), std::min<uint64_t>(kPiece, size - done));
    if (ReadGuest(context.control, address + done, physical, piece) < piece.size())
      throw CommandError(kGeneric, fmt::format("Invalid addr {:#x}/size {} specified", address, size));
    file.write(reinterpret_cast<const char*>(piece.data()), static_cast<std::streamsize>(piece.size()));
    done += piece.size();
  }
  file.flush();
  if (!file) throw CommandError(kGeneric, fmt::format("Could not write '{}'", name));
  return Nothing();
}

Json MemorySave(const CommandContext& context, const Json& arguments) { return SaveMemory(context, arguments, false); }
Json PhysicalSave(const CommandContext& context, const Json& arguments) { return SaveMemory(context, arguments, true); }

const std::vector<Command>& Commands() {
  using enum Type;
  static const std::vector<Parameter> save = {
      {"val", kNumber, true}, {"size", kNumber, true}, {"filename", kString, true}, {"cpu-index", kNumber}};
  static const std::vector<Command> commands = {
      {"query-commands", QueryCommands, {}},
      {"query-version", QueryVersion, {}},
      {"query-name", QueryName, {}},
      {"query-status", QueryStatus, {}},
      {"query-kvm", QueryKvm, {}},
      {"query-target", QueryTarget, {}},
      {"query-cpus-fast", QueryCpus, {}},
      {"query-memory-size-summary", QueryMemorySize, {}},
      {"query-mice", QueryMice, {}},
      {"query-chardev", QueryChardev, {}},
      {"query-block", QueryBlock, {}},
      {"stop", Stop, {}},
      {"cont", Continue, {}},
      {"system_reset", Reset, {}},
      {"system_powerdown", PowerDown, {}},
      {"quit", Quit, {}},
      {"human-monitor-command", HumanCommand, {{"command-line", kString, true}, {"cpu-index", kNumber}}},
      {"send-key", SendKeys, {{"keys", kArray, true}, {"hold-time", kNumber}}},
      {"input-send-event", SendInput, {{"events", kArray, true}, {"device", kString}, {"head", kNumber}}},
      {"screendump",
       ScreenDump,
       {{"filename", kString, true}, {"format", kString}, {"device", kString}, {"head", kNumber}}},
      {"blockdev-change-medium",
       ChangeMedium,
       {{"filename", kString, true},
        {"device", kString},
        {"id", kString},
        {"format", kString},
        {"force", kBool},
        {"read-only-mode", kString}}},
      {"eject", Eject, {{"device", kString}, {"id", kString}, {"force", kBool}}},
      {"memsave", MemorySave, save},
      {"pmemsave", PhysicalSave, save},
      {"x-ring3-screen-text", ScreenText, {}},
      {"x-ring3-type", TypeText, {{"text", kString, true}}},
  };
  return commands;
}

}  // namespace

std::vector<std::string_view> CommandNames() {
  std::vector<std::string_view> names = {"qmp_capabilities"};
  for (const Command& command : Commands()) names.emplace_back(command.name);
  return names;
}

Json Version() {
  return {{"qemu", {{"major", kMajor}, {"minor", kMinor}, {"micro", 0}}}, {"package", "ring3 " RING3_VERSION}};
}

Json Execute(const CommandContext& context, const std::string& command, const Json& arguments) {
  const auto known = std::ranges::find_if(Commands(), [&](const Command& c) { return c.name == command; });
  if (known == Commands().end())
    throw CommandError("CommandNotFound", fmt::format("The command {} has not been found", command));
  CheckArguments(known->parameters, arguments);
  try {
    return known->execute(context, arguments);
  } catch (const DeviceNotFound& error) {
    throw CommandError("DeviceNotFound", error.what());
  } catch (const ControlError& error) {
    throw CommandError(kGeneric, error.what());
  }
}

}  // namespace ring3::qmp
