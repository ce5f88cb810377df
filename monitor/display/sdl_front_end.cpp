// The screen in a window. SDL2 draws it and brings keys and mouse.
#include <SDL2/SDL.h>
#include <fmt/core.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <future>
#include <string>
#include <vector>

#include "monitor/cpu/fault.h"
#include "monitor/display/display.h"
#include "monitor/display/front_end.h"
#include "monitor/display/guest_input.h"
#include "monitor/display/host_thread.h"
#include "monitor/display/late_library.h"
#include "monitor/display/sdl_keys.h"

namespace ring3 {
namespace {

constexpr int kPollMs = 15;
constexpr int kFirstWidth = 720, kFirstHeight = 400;
constexpr const char* kTitle = "ring3";
constexpr const char* kGrabbedTitle = "ring3 (Ctrl-Alt-G releases the mouse)";

uint8_t MouseButtons(uint32_t sdl) {
  uint8_t buttons = 0;
  if (sdl & SDL_BUTTON_LMASK) buttons |= Ps2Mouse::kLeft;
  if (sdl & SDL_BUTTON_MMASK) buttons |= Ps2Mouse::kMiddle;
  if (sdl & SDL_BUTTON_RMASK) buttons |= Ps2Mouse::kRight;
  return buttons;
}

/// What is used of SDL.
struct Sdl : LateLibrary {
  Sdl() : LateLibrary("libSDL2-2.0.so.0", "libsdl2-2.0-0") {}
  RING3_LATE_FUNCTION(SDL_CreateRGBSurfaceWithFormatFrom);
  RING3_LATE_FUNCTION(SDL_CreateWindow);
  RING3_LATE_FUNCTION(SDL_DestroyWindow);
  RING3_LATE_FUNCTION(SDL_FreeSurface);
  RING3_LATE_FUNCTION(SDL_GetCurrentVideoDriver);
  RING3_LATE_FUNCTION(SDL_GetError);
  RING3_LATE_FUNCTION(SDL_GetMouseState);
  RING3_LATE_FUNCTION(SDL_GetWindowSize);
  RING3_LATE_FUNCTION(SDL_GetWindowSurface);
  RING3_LATE_FUNCTION(SDL_Init);
  RING3_LATE_FUNCTION(SDL_PollEvent);
  RING3_LATE_FUNCTION(SDL_Quit);
  RING3_LATE_FUNCTION(SDL_SetHint);
  RING3_LATE_FUNCTION(SDL_SetRelativeMouseMode);
  RING3_LATE_FUNCTION(SDL_SetWindowKeyboardGrab);
  RING3_LATE_FUNCTION(SDL_SetWindowSize);
  RING3_LATE_FUNCTION(SDL_SetWindowTitle);
  RING3_LATE_FUNCTION(SDL_UpdateWindowSurface);
  RING3_LATE_FUNCTION(SDL_UpperBlit);
  RING3_LATE_FUNCTION(SDL_WaitEventTimeout);
};

/// All of SDL happens on one thread.
class SdlFrontEnd final : public FrontEnd {
 public:
  explicit SdlFrontEnd(const FrontEndContext& context);
  ~SdlFrontEnd() override;

 private:
  void Run(std::promise<std::string> ready);
  std::string Open();
  void Take(const SDL_Event& event);
  void TakeKey(const SDL_KeyboardEvent& event);
  void TakeButton();
  void Grab(bool grab);
  void Update();
  void Show(const std::vector<Rectangle>& rectangles);

  Sdl sdl_;
  FrontEndContext context_;
  Surface::Viewer& viewer_;
  SDL_Window* window_ = nullptr;
  Frame frame_;  // the guest's, as last looked at
  bool grabbed_ = false;
  std::atomic<bool> stop_ = false;
  std::thread thread_;
};

SdlFrontEnd::SdlFrontEnd(const FrontEndContext& context)
    : context_(context), viewer_(context.display.Screen().AddViewer(nullptr)) {
  std::promise<std::string> ready;
  std::future<std::string> error = ready.get_future();
  thread_ = StartHostThread(
      [this, ready = std::make_shared<std::promise<std::string>>(std::move(ready))] { Run(std::move(*ready)); });
  const std::string message = error.get();
  if (message.empty()) return;
  thread_.join();
  context_.display.Screen().RemoveViewer(viewer_);
  throw UsageError("--display sdl: cannot open a window: " + message);
}

SdlFrontEnd::~SdlFrontEnd() {
  stop_ = true;
  thread_.join();
  context_.display.Screen().RemoveViewer(viewer_);
}

/// Empty, or what went wrong.
std::string SdlFrontEnd::Open() {
  sdl_.SDL_SetHint(SDL_HINT_NO_SIGNAL_HANDLERS, "1");
  sdl_.SDL_SetHint(SDL_HINT_VIDEO_ALLOW_SCREENSAVER, "1");
  if (sdl_.SDL_Init(SDL_INIT_VIDEO) != 0) return sdl_.SDL_GetError();
  // Without a window system SDL may draw where nobody can look.
  const bool asked_for = std::getenv("SDL_VIDEODRIVER") != nullptr;
  if (const std::string driver = sdl_.SDL_GetCurrentVideoDriver();
      !asked_for && (driver == "offscreen" || driver == "dummy")) {
    return "there is no window system (DISPLAY and WAYLAND_DISPLAY lead nowhere)";
  }
  window_ =
      sdl_.SDL_CreateWindow(kTitle, SDL_WINDOWPOS_UNDEFINED, SDL_WINDOWPOS_UNDEFINED, kFirstWidth, kFirstHeight, 0);
  return window_ ? "" : sdl_.SDL_GetError();
}

void SdlFrontEnd::Run(std::promise<std::string> ready) {
  const std::string error = Open();
  if (error.empty()) context_.mailbox.Post([&display = context_.display] { display.AddWatcher(); });
  ready.set_value(error);
  while (error.empty() && !stop_) {
    SDL_Event event;
    if (sdl_.SDL_WaitEventTimeout(&event, kPollMs)) {
      Take(event);
      while (sdl_.SDL_PollEvent(&event)) Take(event);
    }
    Update();
  }
  if (window_) sdl_.SDL_DestroyWindow(window_);
  sdl_.SDL_Quit();
}

void SdlFrontEnd::Take(const SDL_Event& event) {
  switch (event.type) {
    case SDL_QUIT:
      return context_.quit();
    case SDL_KEYDOWN:
    case SDL_KEYUP:
      return TakeKey(event.key);
    case SDL_MOUSEMOTION:
      if (!grabbed_) return;
      return context_.input.Move(event.motion.xrel, -event.motion.yrel, 0, MouseButtons(event.motion.state));
    case SDL_MOUSEBUTTONDOWN:
    case SDL_MOUSEBUTTONUP:
      return TakeButton();
    case SDL_MOUSEWHEEL:
      if (grabbed_) context_.input.Move(0, 0, -event.wheel.y, MouseButtons(sdl_.SDL_GetMouseState(nullptr, nullptr)));
      return;
    case SDL_WINDOWEVENT:
      if (event.window.event == SDL_WINDOWEVENT_EXPOSED) Show({{0, 0, frame_.width, frame_.height}});
      if (event.window.event == SDL_WINDOWEVENT_FOCUS_LOST) {
        Grab(false);
        context_.input.ReleaseAll();
      }
      return;
    default:
      return;
  }
}

void SdlFrontEnd::TakeKey(const SDL_KeyboardEvent& event) {
  const bool pressed = event.type == SDL_KEYDOWN;
  const bool ctrl_alt = (event.keysym.mod & KMOD_CTRL) && (event.keysym.mod & KMOD_ALT);
  if (event.keysym.scancode == SDL_SCANCODE_G && ctrl_alt) {
    if (pressed && !event.repeat) Grab(!grabbed_);
    return;
  }
  if (const std::optional<Key> key = KeyOfUsbUsage(event.keysym.scancode)) context_.input.SendKey(*key, pressed);
}

/// The first click takes the mouse for the guest.
void SdlFrontEnd::TakeButton() {
  const uint32_t state = sdl_.SDL_GetMouseState(nullptr, nullptr);
  if (grabbed_) return context_.input.Move(0, 0, 0, MouseButtons(state));
  if (state != 0) Grab(true);
}

void SdlFrontEnd::Grab(bool grab) {
  grabbed_ = grab;
  sdl_.SDL_SetRelativeMouseMode(grab ? SDL_TRUE : SDL_FALSE);
  sdl_.SDL_SetWindowKeyboardGrab(window_, grab ? SDL_TRUE : SDL_FALSE);
  sdl_.SDL_SetWindowTitle(window_, grab ? kGrabbedTitle : kTitle);
}

void SdlFrontEnd::Update() {
  std::vector<Rectangle> changed;
  context_.display.Screen().Look(viewer_, [&](const Frame& frame, const Changes& changes) {
    if (frame.width == 0) return;
    if (changes.resized) {
      frame_.width = frame.width;
      frame_.height = frame.height;
      frame_.pixels = frame.pixels;
      changed = {{0, 0, frame.width, frame.height}};
      return;
    }
    changed = changes.rectangles;
    for (const Rectangle& r : changed) {
      for (int y = r.y; y < r.y + r.height; ++y) std::copy_n(frame.Row(y) + r.x, r.width, frame_.Row(y) + r.x);
    }
  });
  if (!changed.empty()) Show(changed);
}

void SdlFrontEnd::Show(const std::vector<Rectangle>& rectangles) {
  if (frame_.pixels.empty()) return;
  int width = 0, height = 0;
  sdl_.SDL_GetWindowSize(window_, &width, &height);
  if (width != frame_.width || height != frame_.height) sdl_.SDL_SetWindowSize(window_, frame_.width, frame_.height);
  SDL_Surface* target = sdl_.SDL_GetWindowSurface(window_);
  SDL_Surface* source = sdl_.SDL_CreateRGBSurfaceWithFormatFrom(frame_.pixels.data(), frame_.width, frame_.height, 32,
                                                                frame_.width * static_cast<int>(sizeof(uint32_t)),
                                                                SDL_PIXELFORMAT_RGB888);
  if (!target || !source) return sdl_.SDL_FreeSurface(source);
  for (const Rectangle& r : rectangles) {
    SDL_Rect from{r.x, r.y, r.width, r.height}, to = from;
    sdl_.SDL_UpperBlit(source, &from, target, &to);
  }
  sdl_.SDL_FreeSurface(source);
  sdl_.SDL_UpdateWindowSurface(window_);
}

}  // namespace

std::unique_ptr<FrontEnd> StartSdl(const FrontEndContext& context) { return std::make_unique<SdlFrontEnd>(context); }

}  // namespace ring3
