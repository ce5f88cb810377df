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
  SDL_SetHint(SDL_HINT_NO_SIGNAL_HANDLERS, "1");
  SDL_SetHint(SDL_HINT_VIDEO_ALLOW_SCREENSAVER, "1");
  if (SDL_Init(SDL_INIT_VIDEO) != 0) return SDL_GetError();
  // Without a window system SDL may draw where nobody can look.
  const bool asked_for = std::getenv("SDL_VIDEODRIVER") != nullptr;
  if (const std::string driver = SDL_GetCurrentVideoDriver();
      !asked_for && (driver == "offscreen" || driver == "dummy")) {
    return "there is no window system (DISPLAY and WAYLAND_DISPLAY lead nowhere)";
  }
  window_ = SDL_CreateWindow(kTitle, SDL_WINDOWPOS_UNDEFINED, SDL_WINDOWPOS_UNDEFINED, kFirstWidth, kFirstHeight, 0);
  return window_ ? "" : SDL_GetError();
}

void SdlFrontEnd::Run(std::promise<std::string> ready) {
  const std::string error = Open();
  if (error.empty()) context_.mailbox.Post([&display = context_.display] { display.AddWatcher(); });
  ready.set_value(error);
  while (error.empty() && !stop_) {
    SDL_Event event;
    if (SDL_WaitEventTimeout(&event, kPollMs)) {
      Take(event);
      while (SDL_PollEvent(&event)) Take(event);
    }
    Update();
  }
  if (window_) SDL_DestroyWindow(window_);
  SDL_Quit();
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
      if (grabbed_) context_.input.Move(0, 0, -event.wheel.y, MouseButtons(SDL_GetMouseState(nullptr, nullptr)));
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
  const uint32_t state = SDL_GetMouseState(nullptr, nullptr);
  if (grabbed_) return context_.input.Move(0, 0, 0, MouseButtons(state));
  if (state != 0) Grab(true);
}

void SdlFrontEnd::Grab(bool grab) {
  grabbed_ = grab;
  SDL_SetRelativeMouseMode(grab ? SDL_TRUE : SDL_FALSE);
  SDL_SetWindowKeyboardGrab(window_, grab ? SDL_TRUE : SDL_FALSE);
  SDL_SetWindowTitle(window_, grab ? kGrabbedTitle : kTitle);
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
  SDL_GetWindowSize(window_, &width, &height);
  if (width != frame_.width || height != frame_.height) SDL_SetWindowSize(window_, frame_.width, frame_.height);
  SDL_Surface* target = SDL_GetWindowSurface(window_);
  SDL_Surface* source =
      SDL_CreateRGBSurfaceWithFormatFrom(frame_.pixels.data(), frame_.width, frame_.height, 32,
                                         frame_.width * static_cast<int>(sizeof(uint32_t)), SDL_PIXELFORMAT_RGB888);
  if (!target || !source) return SDL_FreeSurface(source);
  for (const Rectangle& r : rectangles) {
    SDL_Rect from{r.x, r.y, r.width, r.height}, to = from;
    SDL_BlitSurface(source, &from, target, &to);
  }
  SDL_FreeSurface(source);
  SDL_UpdateWindowSurface(window_);
}

}  // namespace

std::unique_ptr<FrontEnd> StartSdl(const FrontEndContext& context) { return std::make_unique<SdlFrontEnd>(context); }

}  // namespace ring3
