// The screen over RFB (RFC 6143), for VNC viewers and, with noVNC, for browsers. libvncserver speaks the protocol.
#include <fmt/core.h>
#include <rfb/rfb.h>
#include <sys/stat.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <vector>

#include "monitor/cpu/fault.h"
#include "monitor/display/display.h"
#include "monitor/display/front_end.h"
#include "monitor/display/guest_input.h"
#include "monitor/display/host_thread.h"
#include "monitor/display/late_library.h"
#include "monitor/display/page_server.h"

namespace ring3 {
namespace {

constexpr int kBitsPerSample = 8, kSamples = 3, kBytesPerPixel = 4;
constexpr int kFirstWidth = 720, kFirstHeight = 400;
constexpr const char* kNoVnc = "/usr/share/novnc";
constexpr unsigned kHttpPortBelow = 100;  // the pages are served at 5800 for a screen at 5900
/// A client that does not go on with what it began is dropped after this. Others wait meanwhile.
constexpr int kClientWaitMs = 2000;
constexpr long kBusyPollUs = 15'000, kIdlePollUs = 50'000;

uint32_t SwapRedAndBlue(uint32_t pixel) { return (pixel & 0xFF00) | (pixel >> 16 & 0xFF) | (pixel & 0xFF) << 16; }

uint8_t MouseButtons(int rfb_buttons) {
  uint8_t buttons = 0;
  if (rfb_buttons & 1) buttons |= Ps2Mouse::kLeft;
  if (rfb_buttons & 2) buttons |= Ps2Mouse::kMiddle;
  if (rfb_buttons & 4) buttons |= Ps2Mouse::kRight;
  return buttons;
}

std::string ReadPassword(const std::string& path) {
  std::ifstream file(path);
  std::string password;
  if (!file || !std::getline(file, password)) {
    throw UsageError(fmt::format("cannot read a VNC password from {}: its first line is the password", path));
  }
  return password;
}

/// What is used of libvncserver.
struct Rfb : LateLibrary {
  Rfb() : LateLibrary("libvncserver.so.1", "libvncserver1") {}
  RING3_LATE_FUNCTION(rfbCheckPasswordByList);
  RING3_LATE_FUNCTION(rfbGetScreen);
  RING3_LATE_FUNCTION(rfbInitServer);
  RING3_LATE_FUNCTION(rfbLogEnable);
  RING3_LATE_FUNCTION(rfbMarkRectAsModified);
  RING3_LATE_FUNCTION(rfbNewFramebuffer);
  RING3_LATE_FUNCTION(rfbProcessEvents);
  RING3_LATE_FUNCTION(rfbScreenCleanup);
  RING3_LATE_FUNCTION(rfbSetCursor);
  RING3_LATE_FUNCTION(rfbShutdownServer);
  RING3_LATE_FUNCTION(rfbStringToAddr);
};

class VncFrontEnd final : public FrontEnd {
 public:
  VncFrontEnd(const VncOptions& options, const FrontEndContext& context);
  ~VncFrontEnd() override;

 private:
  static VncFrontEnd& Of(rfbClientPtr client) { return *static_cast<VncFrontEnd*>(client->screen->screenData); }
  static rfbNewClientAction ClientCame(rfbClientPtr client);
  static void ClientGone(rfbClientPtr client);
  static void KeyEvent(rfbBool down, rfbKeySym keysym, rfbClientPtr client);
  static void PointerEvent(int buttons, int x, int y, rfbClientPtr client);

  void Listen(const VncOptions& options);
  void ServePages(const VncOptions& options, const std::string& host);
  void Run();
  void Update();
  void Resize(const Frame& frame);
  void Copy(const Frame& frame, const Rectangle& rectangle);

  Rfb rfb_;
  FrontEndContext context_;
  std::string password_;
  std::vector<char*> passwords_;  // for libvncserver: ends with null
  std::vector<uint32_t> pixels_;
  rfbScreenInfoPtr screen_ = nullptr;
  std::unique_ptr<PageServer> pages_;
  Surface::Viewer& viewer_;
  unsigned clients_ = 0;
  int buttons_ = 0;
  std::atomic<bool> stop_ = false;
  std::thread thread_;
};

VncFrontEnd::VncFrontEnd(const VncOptions& options, const FrontEndContext& context)
    : context_(context),
      password_(options.password_file.empty() ? "" : ReadPassword(options.password_file)),
      pixels_(size_t{kFirstWidth} * kFirstHeight),
      viewer_(context.display.Screen().AddViewer(nullptr)) {
  rfb_.rfbLogEnable(0);
  screen_ = rfb_.rfbGetScreen(nullptr, nullptr, kFirstWidth, kFirstHeight, kBitsPerSample, kSamples, kBytesPerPixel);
  screen_->frameBuffer = reinterpret_cast<char*>(pixels_.data());
  screen_->desktopName = "ring3";
  screen_->screenData = this;
  screen_->alwaysShared = TRUE;
  screen_->maxClientWait = kClientWaitMs;
  screen_->newClientHook = ClientCame;
  screen_->kbdAddEvent = KeyEvent;
  screen_->ptrAddEvent = PointerEvent;
  rfb_.rfbSetCursor(screen_, nullptr);  // the guest draws its own
  if (!options.password_file.empty()) {
    passwords_ = {password_.data(), nullptr};
    screen_->authPasswdData = passwords_.data();
    screen_->passwordCheck = rfb_.rfbCheckPasswordByList;
  }
  try {
    Listen(options);
  } catch (...) {
    rfb_.rfbScreenCleanup(screen_);
    context_.display.Screen().RemoveViewer(viewer_);
    throw;
  }
  thread_ = StartHostThread([this] { Run(); });
}

VncFrontEnd::~VncFrontEnd() {
  stop_ = true;
  thread_.join();
  rfb_.rfbShutdownServer(screen_, TRUE);
  rfb_.rfbScreenCleanup(screen_);
  context_.display.Screen().RemoveViewer(viewer_);
}

void VncFrontEnd::Listen(const VncOptions& options) {
  screen_->port = options.port;
  screen_->ipv6port = 0;
  if (options.host.empty()) {
    screen_->ipv6port = options.port;
  } else if (!rfb_.rfbStringToAddr(const_cast<char*>(options.host.c_str()), &screen_->listenInterface)) {
    throw UsageError(fmt::format("cannot show the screen by VNC: there is no host '{}'", options.host));
  }
  rfb_.rfbInitServer(screen_);
  if (screen_->listenSock < 0) {
    throw UsageError(fmt::format("cannot show the screen by VNC: port {} of {} is in use or not ours (choose another)",
                                 options.port, options.host.empty() ? "this host" : options.host));
  }
  const std::string host = options.host.empty() ? "127.0.0.1" : options.host;
  fmt::print(stderr, "ring3: the screen is at VNC {}:{}\n", host, options.port);
  ServePages(options, host);
}

/// noVNC's pages, where Debian's package has them. They find their way back by WebSocket.
void VncFrontEnd::ServePages(const VncOptions& options, const std::string& host) {
  struct stat status;
  if (options.port <= kHttpPortBelow || stat(kNoVnc, &status) != 0) return;
  const auto port = static_cast<uint16_t>(options.port - kHttpPortBelow);
  pages_ = std::make_unique<PageServer>(kNoVnc, fmt::format("/vnc.html?autoconnect=true&path=&port={}", options.port),
                                        screen_->listenInterface, port);
  if (pages_->Listening()) {
    fmt::print(stderr, "ring3: in a browser: http://{}:{}/\n", host, port);
  } else {
    fmt::print(stderr, "ring3: no pages for browsers: port {} is in use\n", port);
  }
}

void VncFrontEnd::Run() {
  while (!stop_) {
    if (clients_ > 0) Update();
    rfb_.rfbProcessEvents(screen_, clients_ > 0 ? kBusyPollUs : kIdlePollUs);
  }
}

void VncFrontEnd::Update() {
  bool resized = false;
  std::vector<Rectangle> changed;
  context_.display.Screen().Look(viewer_, [&](const Frame& frame, const Changes& changes) {
    resized = changes.resized;
    if (frame.width == 0) return;
    if (changes.resized) return Resize(frame);
    changed = changes.rectangles;
    for (const Rectangle& rectangle : changed) Copy(frame, rectangle);
  });
  for (const Rectangle& r : changed) rfb_.rfbMarkRectAsModified(screen_, r.x, r.y, r.x + r.width, r.y + r.height);
  if (resized) rfb_.rfbMarkRectAsModified(screen_, 0, 0, screen_->width, screen_->height);
}

void VncFrontEnd::Resize(const Frame& frame) {
  if (frame.width != screen_->width || frame.height != screen_->height) {
    std::vector<uint32_t> pixels(frame.pixels.size());
    rfb_.rfbNewFramebuffer(screen_, reinterpret_cast<char*>(pixels.data()), frame.width, frame.height, kBitsPerSample,
                           kSamples, kBytesPerPixel);
    pixels_.swap(pixels);
  }
  Copy(frame, {0, 0, frame.width, frame.height});
}

/// libvncserver's own format has red in the lowest byte.
void VncFrontEnd::Copy(const Frame& frame, const Rectangle& rectangle) {
  for (int y = rectangle.y; y < rectangle.y + rectangle.height; ++y) {
    const uint32_t* from = frame.Row(y) + rectangle.x;
    const auto to = pixels_.begin() + static_cast<ptrdiff_t>(y) * frame.width + rectangle.x;
    std::transform(from, from + rectangle.width, to, SwapRedAndBlue);
  }
}

rfbNewClientAction VncFrontEnd::ClientCame(rfbClientPtr client) {
  VncFrontEnd& self = Of(client);
  client->clientGoneHook = ClientGone;
  ++self.clients_;
  self.context_.mailbox.Post([&display = self.context_.display] { display.AddWatcher(); });
  return RFB_CLIENT_ACCEPT;
}

void VncFrontEnd::ClientGone(rfbClientPtr client) {
  VncFrontEnd& self = Of(client);
  --self.clients_;
  self.context_.input.ReleaseAll();
  self.context_.mailbox.Post([&display = self.context_.display] { display.RemoveWatcher(); });
}

void VncFrontEnd::KeyEvent(rfbBool down, rfbKeySym keysym, rfbClientPtr client) {
  Of(client).context_.input.SendKeysym(keysym, down);
}

void VncFrontEnd::PointerEvent(int buttons, int x, int y, rfbClientPtr client) {
  constexpr int kWheelUp = 8, kWheelDown = 16;
  VncFrontEnd& self = Of(client);
  const int pressed = buttons & ~self.buttons_;
  const int wheel = (pressed & kWheelDown ? 1 : 0) - (pressed & kWheelUp ? 1 : 0);
  self.buttons_ = buttons;
  self.context_.input.PointAt(x, y, client->screen->width, client->screen->height, wheel, MouseButtons(buttons));
}

}  // namespace

std::unique_ptr<FrontEnd> StartVnc(const VncOptions& options, const FrontEndContext& context) {
  return std::make_unique<VncFrontEnd>(options, context);
}

}  // namespace ring3
